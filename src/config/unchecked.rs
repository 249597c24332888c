//! Checks the main file and its business files, together or with bad business files left out.
//!
//! The main file is parsed first, because it names the business files. Reading them is the task of
//! the caller.

use std::collections::BTreeSet;

use super::check::businesses::{CheckContext, UniqueNames};
use super::check::secrets::LookUpVariable;
use super::check::{businesses, insights, metrics, settings, windows};
use super::diagnostics::{ConfigErrors, Diagnostics, NamedDocument};
use super::parse::document;
use super::parse::from_yaml::RawList;
use super::parse::raw::{RawBusiness, RawConfig};
use super::parse::scalar::RawText;
use super::parse::yaml_path::YamlPath;
use super::{BusinessConfig, Config};

/// Error for a main file without content.
const EMPTY_MAIN_FILE: &str = "expected a mapping with keys such as `businesses:`, found an empty file; copy config.example.yaml, or run the subcommand `demo`";

/// Error for a business file without content.
const EMPTY_BUSINESS_FILE: &str = "expected a list of businesses, found an empty file; begin each business with `- name:`, or write `[]`";

/// The main file, parsed but not checked.
#[derive(Debug)]
pub struct UncheckedConfig {
    main: NamedDocument,
    raw: RawConfig,
    /// Errors of shape: wrong types and unknown keys.
    shape_errors: ConfigErrors,
    variables: LookUpVariable,
    /// Whether each business needs a source.
    requires_sources: bool,
    /// Users of the web config; `None`: the web config is not known.
    web_config_users: Option<BTreeSet<String>>,
    /// Description of each pattern of `business_files` without a match.
    unmatched_patterns: Vec<String>,
}

/// Result of a reload in which bad business files do not affect the rest of the config.
#[derive(Debug)]
pub struct PartialReload {
    /// The new config.
    pub config: Config,
    /// Errors of business files; empty if there are none.
    pub refused: ConfigErrors,
    /// Business files of the config in the versions that it uses: `last_good` of the next reload.
    pub good: Vec<NamedDocument>,
}

/// Result of checking the main file; with errors the config is incomplete.
struct MainCheck {
    config: Config,
    context: CheckContext,
    names: UniqueNames,
    errors: ConfigErrors,
}

impl UncheckedConfig {
    /// Parses the main file without checking values. Wrong types and unknown keys are reported by
    /// the checks, together with all other errors.
    ///
    /// # Errors
    /// Returns an error if the text is not YAML, or no mapping.
    pub fn parse(main: NamedDocument) -> Result<Self, ConfigErrors> {
        let (raw, diagnostics) = document::parse(&main, EMPTY_MAIN_FILE)?;
        let shape_errors = diagnostics.finish();
        Ok(Self {
            main,
            raw,
            shape_errors,
            variables: |_| None,
            requires_sources: true,
            web_config_users: None,
            unmatched_patterns: Vec::new(),
        })
    }

    /// Sets the function that returns the values of environment variables; without it, none is set.
    #[must_use]
    pub fn with_variables(self, variables: fn(&str) -> Option<String>) -> Self {
        Self { variables, ..self }
    }

    /// Sets the names of the users of the web config, which the users of businesses must agree with;
    /// without a web config, there are none. With `None` they are not compared.
    #[must_use]
    pub fn with_web_config_users(self, web_config_users: Option<BTreeSet<String>>) -> Self {
        Self {
            web_config_users,
            ..self
        }
    }

    /// Accepts businesses without sources, for the command that looks for sources.
    #[must_use]
    pub fn with_optional_sources(self) -> Self {
        let requires_sources = false;
        Self {
            requires_sources,
            ..self
        }
    }

    /// Adds the descriptions of the patterns of `business_files` without a match, for the error of a config without businesses.
    #[must_use]
    pub fn with_unmatched_patterns(self, unmatched_patterns: &[String]) -> Self {
        let unmatched_patterns = unmatched_patterns.to_vec();
        Self {
            unmatched_patterns,
            ..self
        }
    }

    /// Returns the patterns of `business_files`, in document order.
    pub fn business_files(&self) -> impl Iterator<Item = &str> {
        let patterns = self.raw.business_files.items();
        patterns
            .iter()
            .map(|(_, RawText(pattern))| pattern.as_str())
    }

    /// Checks the main file and all business files.
    ///
    /// # Errors
    /// Returns all errors of all files, if there are any.
    pub fn check(&self, business_files: &[NamedDocument]) -> Result<Config, ConfigErrors> {
        let MainCheck {
            mut config,
            context,
            mut names,
            mut errors,
        } = self.check_main();
        for document in business_files {
            match check_document(document, &context, &mut names) {
                Ok((mut businesses, warnings)) => {
                    config.businesses.append(&mut businesses);
                    config.warnings.append(warnings);
                }
                Err(document_errors) => errors.append(document_errors),
            }
        }
        if errors.is_empty() && config.businesses.is_empty() {
            errors.append(self.no_businesses());
        }
        config.warn_shared_accounts(&self.main.name);
        if errors.is_empty() {
            Ok(config)
        } else {
            Err(errors)
        }
    }

    /// Checks the main file and all business files; a bad business file is replaced by its last
    /// good version (the document of the same name in `last_good`) if that is still valid, and
    /// left out otherwise.
    ///
    /// # Errors
    /// Returns an error if the main file is bad or no business is left.
    pub fn check_partially(
        &self,
        business_files: &[NamedDocument],
        last_good: &[NamedDocument],
    ) -> Result<PartialReload, ConfigErrors> {
        let MainCheck {
            mut config,
            context,
            mut names,
            errors,
        } = self.check_main();
        if !errors.is_empty() {
            return Err(errors);
        }
        let previous_of =
            |file: &NamedDocument| last_good.iter().find(|last| last.name == file.name);
        // Files in force come first, so that a new file cannot take the name of a business or user from
        // them.
        let mut files: Vec<(usize, &NamedDocument)> = business_files.iter().enumerate().collect();
        files.sort_by_key(|(_, file)| match previous_of(file) {
            Some(previous) if previous.text == file.text => 0,
            Some(_) => 1,
            None => 2,
        });
        let mut checked = Vec::new();
        let mut errors = Vec::new();
        for (file_idx, current) in files {
            let versions = [Some(current), previous_of(current)].into_iter().flatten();
            for (version_idx, document) in versions.enumerate() {
                match check_document(document, &context, &mut names) {
                    Ok((businesses, warnings)) => {
                        checked.push((file_idx, businesses, warnings, document));
                        break;
                    }
                    Err(file_errors) => {
                        // A bad version must not reserve names.
                        names.remove_document(&document.name);
                        // Only errors of the current version are reported.
                        if version_idx == 0 {
                            errors.push((file_idx, file_errors));
                        }
                    }
                }
            }
        }
        checked.sort_by_key(|(file_idx, ..)| *file_idx);
        errors.sort_by_key(|(file_idx, _)| *file_idx);
        let mut refused = ConfigErrors::default();
        for (_, file_errors) in errors {
            refused.append(file_errors);
        }
        let mut good = Vec::new();
        for (_, mut businesses, warnings, document) in checked {
            config.businesses.append(&mut businesses);
            config.warnings.append(warnings);
            good.push(document.clone());
        }
        if config.businesses.is_empty() {
            refused.append(self.no_businesses());
            return Err(refused);
        }
        config.warn_shared_accounts(&self.main.name);
        Ok(PartialReload {
            config,
            refused,
            good,
        })
    }

    /// Checks the main file without its business files.
    fn check_main(&self) -> MainCheck {
        let mut diagnostics = Diagnostics::new(&self.main);
        let root = YamlPath::root();
        let raw = &self.raw;
        let graph = raw.graph.section().cloned().unwrap_or_default();
        let graph = settings::graph(&mut diagnostics, &root.key("graph"), &graph, self.variables);
        let polling = raw.polling.section().cloned().unwrap_or_default();
        let polling = settings::polling(&mut diagnostics, &root.key("polling"), &polling);
        let insights = raw.insights.section().cloned().unwrap_or_default();
        let insights = insights::check(&mut diagnostics, &root.key("insights"), &insights);
        let checked_windows = windows::check(&mut diagnostics, &root.key("windows"), &raw.windows);
        for (pattern_idx, pattern) in self.business_files().enumerate() {
            if pattern.trim().is_empty() {
                diagnostics.add(
                    &root.key("business_files").index(pattern_idx),
                    "expected a path or a pattern such as `conf.d/*.yaml`, found an empty string",
                );
            }
        }
        let window_names = windows::names(&raw.windows);
        let defaults = raw.defaults.section().cloned().unwrap_or_default();
        let defaults = businesses::defaults(
            &mut diagnostics,
            &root.key("defaults"),
            &defaults,
            &window_names,
        );
        let excluded_metrics = metrics::excluded(
            &mut diagnostics,
            &root.key("metrics"),
            &raw.metrics,
            &insights.extra_fields,
        );
        let context = CheckContext {
            windows: window_names,
            level: insights.level,
            extra_fields: insights.extra_fields.clone(),
            excluded_metrics,
            app: graph.app.clone(),
            defaults,
            variables: self.variables,
            requires_sources: self.requires_sources,
            web_config_users: self.web_config_users.clone(),
        };
        let mut names = UniqueNames::default();
        let businesses = businesses::check(
            &mut diagnostics,
            &root.key("businesses"),
            raw.businesses.items(),
            &context,
            &mut names,
        );
        MainCheck {
            config: Config {
                graph,
                polling,
                insights,
                windows: checked_windows,
                businesses,
                warnings: diagnostics.take_warnings(),
            },
            context,
            names,
            errors: self.shape_errors.merged_with(diagnostics.finish()),
        }
    }

    /// Returns the error for a config without businesses.
    fn no_businesses(&self) -> ConfigErrors {
        let mut diagnostics = Diagnostics::new(&self.main);
        let error = if self.raw.business_files.items().is_empty() {
            "expected at least one business, found none; add one as in config.example.yaml"
                .to_owned()
        } else {
            let mut found = "none".to_owned();
            for pattern in &self.unmatched_patterns {
                found = format!("{found}, and {pattern}");
            }
            format!(
                "expected at least one business here or in `business_files`, found {found}; add one, or a file that matches `business_files`"
            )
        };
        diagnostics.add(&YamlPath::root().key("businesses"), error);
        diagnostics.finish()
    }
}

/// Checks a business file, which contains a list of businesses; returns them with the warnings.
fn check_document(
    document: &NamedDocument,
    context: &CheckContext,
    names: &mut UniqueNames,
) -> Result<(Vec<BusinessConfig>, ConfigErrors), ConfigErrors> {
    let (raw, mut diagnostics): (RawList<RawBusiness>, _) =
        document::parse(document, EMPTY_BUSINESS_FILE)?;
    let businesses = businesses::check(
        &mut diagnostics,
        &YamlPath::root(),
        raw.items(),
        context,
        names,
    );
    if diagnostics.is_empty() {
        let warnings = diagnostics.take_warnings();
        Ok((businesses, warnings))
    } else {
        Err(diagnostics.finish())
    }
}
