//! A main file whose shape is right, and the documents that it names: together they make a config.
//!
//! The main file is read first, since it says which business files there are. Who reads those
//! from where is not known here.

use super::businesses::{self, Names, Surroundings};
use super::complaint::{Complaints, Document, Notes};
use super::place::Place;
use super::raw::{RawBusiness, RawConfig};
use super::scalar::{List, Text};
use super::{Business, Config, insights, settings, shape, windows};

/// The main file, read but not checked.
#[derive(Debug)]
pub struct Draft {
    main: Document,
    raw: RawConfig,
}

/// What came of a reload where a bad business file refuses itself alone.
#[derive(Debug)]
pub struct Lenient {
    /// What holds now.
    pub config: Config,
    /// What was refused of the business files; empty where all is well.
    pub refused: Complaints,
    /// The business files that the config was made of, as they will do for the next reload.
    pub good: Vec<Document>,
}

impl Draft {
    /// Reads the shape of the main file.
    pub fn read(main: Document) -> Result<Self, Complaints> {
        let raw = shape::read(
            &main,
            "copy config.example.yaml and change it, or run the subcommand `demo`",
        )?;
        Ok(Self { main, raw })
    }

    /// The patterns under `business_files`, in the order written.
    pub fn business_files(&self) -> impl Iterator<Item = &str> {
        let patterns = self.raw.business_files.items();
        patterns.iter().map(|Text(pattern)| pattern.as_str())
    }

    /// Checks everything together: one complaint refuses all, and all come at once.
    pub fn check(&self, business_files: &[Document]) -> Result<Config, Complaints> {
        let (mut config, surroundings, mut names, mut complaints) = self.check_main();
        for document in business_files {
            match check_document(document, &surroundings, &mut names) {
                Ok(mut businesses) => config.businesses.append(&mut businesses),
                Err(found) => complaints.append(found),
            }
        }
        if complaints.is_empty() && config.businesses.is_empty() {
            complaints.append(self.no_businesses());
        }
        if complaints.is_empty() {
            Ok(config)
        } else {
            Err(complaints)
        }
    }

    /// Checks everything, but a bad business file refuses itself alone: what it said when it was
    /// last good (the document of the same name in `last_good`) stands for it, if it still can.
    ///
    /// An error only where the main file is bad, or no business is left.
    pub fn check_lenient(
        &self,
        business_files: &[Document],
        last_good: &[Document],
    ) -> Result<Lenient, Complaints> {
        let (mut config, surroundings, mut names, complaints) = self.check_main();
        if !complaints.is_empty() {
            return Err(complaints);
        }
        let mut refused = Complaints::default();
        let mut good = Vec::new();
        for document in business_files {
            let last = last_good.iter().find(|last| last.name == document.name);
            for (attempt, document) in [Some(document), last].into_iter().flatten().enumerate() {
                let mut tried = names.clone();
                match check_document(document, &surroundings, &mut tried) {
                    Ok(mut businesses) => {
                        names = tried;
                        config.businesses.append(&mut businesses);
                        good.push(document.clone());
                        break;
                    }
                    // What is wrong with the earlier text is not news to anyone.
                    Err(found) if attempt == 0 => refused.append(found),
                    Err(_) => {}
                }
            }
        }
        if config.businesses.is_empty() {
            refused.append(self.no_businesses());
            return Err(refused);
        }
        Ok(Lenient {
            config,
            refused,
            good,
        })
    }

    /// The config of the main file alone, what its business files must fit to, and complaints.
    fn check_main(&self) -> (Config, Surroundings, Names, Complaints) {
        let mut notes = Notes::new(&self.main);
        let top = Place::top();
        let raw = &self.raw;
        let graph = settings::graph(&mut notes, &top.key("graph"), &raw.graph);
        let polling = settings::polling(&mut notes, &top.key("polling"), &raw.polling);
        let insights = insights::check(&mut notes, &top.key("insights"), &raw.insights);
        let checked_windows = windows::check(&mut notes, &top.key("windows"), &raw.windows);
        for (index, Text(pattern)) in raw.business_files.items().iter().enumerate() {
            if pattern.trim().is_empty() {
                notes.add(
                    &top.key("business_files").index(index),
                    "this names no file; write a path or a pattern such as conf.d/*.yaml",
                );
            }
        }
        let surroundings = Surroundings {
            windows: windows::names(&raw.windows),
            level: insights.level,
            app: graph.app.clone(),
        };
        let mut names = Names::new();
        let businesses = businesses::check(
            &mut notes,
            &top.key("businesses"),
            raw.businesses.items(),
            &surroundings,
            &mut names,
        );
        let config = Config {
            graph,
            polling,
            insights,
            windows: checked_windows,
            businesses,
        };
        (config, surroundings, names, notes.finish())
    }

    fn no_businesses(&self) -> Complaints {
        let mut notes = Notes::new(&self.main);
        let missing = match self.raw.business_files.items() {
            [] => "there is no business; add one under `businesses:`, as config.example.yaml shows",
            _ => {
                "there is no business, here or in the business_files; add one under `businesses:`, or a file that business_files finds"
            }
        };
        notes.add(&Place::top().key("businesses"), missing);
        notes.finish()
    }
}

/// Checks a business file, which is one list of businesses.
fn check_document(
    document: &Document,
    surroundings: &Surroundings,
    names: &mut Names,
) -> Result<Vec<Business>, Complaints> {
    let remedy = "write a list of businesses, each beginning `- name:`, or [] for none";
    let List(raw): List<RawBusiness> = shape::read(document, remedy)?;
    let mut notes = Notes::new(document);
    let businesses = businesses::check(&mut notes, &Place::top(), &raw, surroundings, names);
    if notes.is_empty() {
        Ok(businesses)
    } else {
        Err(notes.finish())
    }
}
