//! Mistakes that people make in configs, each with the answer that helps.

use marketing_messages_exporter::config::{Config, NamedDocument, UncheckedConfig};

use crate::config::parse_main;
use crate::process::Program;

/// A complete config in which parts are replaced.
const BASE: &str = "graph:
  url: http://127.0.0.1:9
businesses:
  - name: acme
    access_token_file: tok
    ad_accounts:
      - id: act_10150000000001201
";

/// Each mistake: the part of `BASE` to replace, the replacement, and what the answer contains.
const MISTAKES: [(&str, &str, &[&str]); 47] = [
    (
        "act_10150000000001201",
        "act_1015-0000-0000-1201",
        &[
            ":7: businesses[0].ad_accounts[0].id: ",
            "write `act_1015000000001201`",
        ],
    ),
    (
        "act_10150000000001201",
        "https://adsmanager.facebook.com/adsmanager/manage/campaigns?act=10150000000001201&x=1",
        &["write `act_10150000000001201`"],
    ),
    (
        "access_token_file",
        "token_file",
        &[":5: ", "did you mean `access_token_file`?"],
    ),
    (
        "ad_accounts",
        "ad_account",
        &["did you mean `ad_accounts`?"],
    ),
    ("ad_accounts", "accounts", &["did you mean `ad_accounts`?"]),
    ("businesses:", "business:", &["did you mean `businesses`?"]),
    (
        "    ad_accounts",
        "\tad_accounts",
        &[":6: ", "tab at line 6 column 1; use spaces"],
    ),
    (
        "businesses:\n  - name",
        "businesses:\n    name",
        &["expected a list", "found a mapping", "`- name: acme`"],
    ),
    (
        "      - id: act_10150000000001201",
        "      - act_1",
        &["expected a mapping such as `{ id: act_1234567890 }`, found a string"],
    ),
    (
        "graph:",
        "polling: { interval: 900 }\ngraph:",
        &["a unit is missing, such as `900s` or `15m`"],
    ),
    (
        "graph:",
        "polling: { interval: 15 min }\ngraph:",
        &["did you mean `15m`?"],
    ),
    (
        "graph:",
        "polling: { intervall: 15m }\ngraph:",
        &["did you mean `interval`?"],
    ),
    (
        "graph:",
        "windows: [{ name: t, date_preset: tody }]\ngraph:",
        &["did you mean `today`?"],
    ),
    (
        "graph:",
        "windows: [{ name: t, date_preset: last_60d }]\ngraph:",
        &["use a `time_range`, or `last_90d`"],
    ),
    (
        "graph:",
        "windows: [today, last_30d]\ngraph:",
        &[
            "windows[0]: expected a mapping such as `{ name: today, date_preset: today }`",
            "windows[1]: ",
        ],
    ),
    (
        "graph:",
        "defaults: { thresholds: [{ window: today, min_ROAS: 2 }] }\ngraph:",
        &["did you mean `min_roas`?"],
    ),
    (
        "graph:",
        "defaults: { thresholds: [{ window: today, max_cpa: 2 }] }\ngraph:",
        &["did you mean `max_cost_per_purchase`?"],
    ),
    (
        "graph:",
        "defaults: { thresholds: [{ window: today, min_read_ratio: 40 }] }\ngraph:",
        &["a ratio from 0 to 1", "did you mean 0.40?"],
    ),
    (
        "graph:",
        "defaults: { thresholds: [{ window: today, max_spend: 500 EUR }] }\ngraph:",
        &["expected a number", "currency of the ad account"],
    ),
    (
        "graph:",
        "defaults: { labels: { cost-center: a } }\ngraph:",
        &["did you mean `cost_center`?"],
    ),
    (
        "graph:",
        "defaults: { labels: { job: a } }\ngraph:",
        &["not reserved"],
    ),
    (
        "http://127.0.0.1:9",
        "graph.facebook.com",
        &["starts with `https://`"],
    ),
    (
        "http://127.0.0.1:9",
        "https://graph.facebook.com/v26.0",
        &["graph.url: ", "move it to `graph.version`"],
    ),
    (
        "http://127.0.0.1:9",
        "http://graph.facebook.com",
        &["unencrypted"],
    ),
    (
        "http://127.0.0.1:9",
        "http://[::zz]:80",
        &["graph.url: expected a host name"],
    ),
    ("graph:\n", "graph:\n  version: 26.0\n", &["write `v26.0`"]),
    (
        "graph:\n",
        "graph:\n  version: \"26.0\"\n",
        &["write `v26.0`"],
    ),
    (
        "graph:",
        "insights: { level: campaigns }\ngraph:",
        &["did you mean `campaign`?"],
    ),
    (
        "graph:",
        "windows: [{ name: t, time_range: { since: 2026-13-01, until: 2026-12-01 } }]\ngraph:",
        &["YYYY-MM-DD"],
    ),
    (
        "access_token_file: tok",
        "access_token_file: ${TOKEN_FILE}",
        &["`TOKEN_FILE` that is not set"],
    ),
    (
        "access_token_file: tok",
        "access_token_file: $TOKEN_FILE",
        &["write `${VAR}`"],
    ),
    (
        "access_token_file: tok",
        "access_token_env: $ACME_TOKEN",
        &["without `$`"],
    ),
    (
        "access_token_file: tok",
        "access_token_file: EAAB123",
        &["looks like a token"],
    ),
    ("name: acme", "name: \"acme \"", &["visible characters"]),
    (
        "name: acme",
        "name: \"ac\\u200bme\"",
        &["visible characters"],
    ),
    (
        "    ad_accounts",
        "    exclude: [act_1]\n    ad_accounts",
        &["`ad_accounts: all`"],
    ),
    (
        "      - id",
        "      - campaign_name: \"(\"\n        id",
        &["regular expression"],
    ),
    (
        "      - id",
        "      - campaign_name: a\n        campaigns: [\"1\"]\n        id",
        &["either `campaigns` or `campaign_name`"],
    ),
    (
        "    ad_accounts",
        "    thresholds: [{ window: today }]\n    ad_accounts",
        &[
            ":6: businesses[0].thresholds[0]: expected at least one limit",
            "add one such as `max_spend`",
        ],
    ),
    (
        "    ad_accounts",
        "    thresholds: [{ window: yesterday, max_spend: 1 }]\n    ad_accounts",
        &[
            ":6: ",
            "one of the windows `today`, `last_30d`, found `yesterday`; name one of them, or add this one to `windows`",
        ],
    ),
    (
        "    ad_accounts",
        "    labels: { business: x }\n    ad_accounts",
        &[":6: businesses[0].labels.business: ", "choose another"],
    ),
    (
        "    ad_accounts",
        "    labels: { cost: 42 }\n    ad_accounts",
        &[
            ":6: businesses[0].labels.cost: ",
            "found a number; put it in quotes",
        ],
    ),
    (
        "businesses:\n",
        "businesses:\n  - { name: acme, access_token_env: T, ad_accounts: [{ id: act_1 }] }\n",
        &[
            ":5: businesses[1].name: ",
            "found the name of `businesses[0]`; choose another",
        ],
    ),
    (
        "    ad_accounts",
        "    campaigns: [{ id: act_10150000000001201 }]\n    ad_accounts",
        &[
            ":6: businesses[0].campaigns[0].id: ",
            "list it under `ad_accounts`",
        ],
    ),
    (
        "graph:",
        "windows: [{ name: t, date_preset: today, time_range: { since: 2026-01-01, until: 2026-01-02 } }]\ngraph:",
        &[
            ":1: windows[0]: ",
            "either `date_preset` or `time_range`, found both; remove one",
        ],
    ),
    (
        "access_token_file: tok",
        "access_token: EAABsecretsecretsecret",
        &[
            ":5: businesses[0].access_token: ",
            "move the token to a file",
        ],
    ),
    (BASE, "", &["config.example.yaml", "`demo`"]),
];

#[test]
fn mistake_has_helpful_answer() {
    for (part, replacement, expected) in MISTAKES {
        let text = BASE.replacen(part, replacement, 1);
        assert_ne!(text, BASE, "{part} should be replaced");
        let errors = parse_main(&text).expect_err(&text);
        for fragment in expected {
            assert!(
                errors.contains(fragment),
                "expected {fragment:?} in:\n{errors}\nof:\n{text}"
            );
        }
        assert!(!errors.contains("secretsecret"), "{errors}");
        assert!(
            errors.lines().count() <= 2,
            "one mistake should give one answer:\n{errors}"
        );
    }
}

#[test]
fn level_account_refuses_campaign_sources() {
    let campaign = "    campaigns: [{ id: \"120210000000000001\" }]\n    ad_accounts";
    let text = BASE.replacen("    ad_accounts", campaign, 1);
    let text = format!("insights: {{ level: account }}\n{text}");
    let errors = parse_main(&text).expect_err(&text);
    assert!(
        errors.contains(":7: businesses[0].campaigns: expected no campaigns with `insights.level: account`, found 1; "),
        "{errors}"
    );
}

#[test]
fn shape_errors_are_reported_with_all_others() {
    let text = "graph: { version: 26, timout: 30s }
polling: { interval: 900, concurency: 8, concurrency: many }
windows: [{ name: today, date_preset: tody }]
businesses:
  - name: acme
    access_token_file: tok
    enabled: maybe
    enabled: true
    ad_accounts: [{ id: x }, 7]
";
    let errors = parse_main(text).expect_err("the config should be refused");
    let starts: Vec<&str> = errors
        .lines()
        .filter_map(|line| line.split(": ").nth(1))
        .collect();
    assert_eq!(
        starts,
        [
            "graph.timout",
            "graph.version",
            "polling.concurency",
            "polling.concurrency",
            "polling.interval",
            "windows[0].date_preset",
            "businesses[0].enabled",
            "businesses[0].enabled",
            "businesses[0].ad_accounts[1]",
            "businesses[0].ad_accounts[0].id",
        ],
        "{errors}"
    );
}

/// Returns the warnings of a config that is accepted.
fn warnings(text: &str) -> String {
    parse_main(text).expect(text).warnings.to_string()
}

#[test]
fn unusual_setting_is_a_warning() {
    for (part, replacement, expected) in [
        (
            "graph:",
            "insights: { action_types: [purchase] }\ngraph:",
            "did you mean `offsite_conversion.fb_pixel_purchase`?",
        ),
        (
            "graph:",
            "insights: { extra_fields: [{ field: marketing_messages_spend, metric: spend2, kind: money }] }\ngraph:",
            "is built in",
        ),
        (
            "http://127.0.0.1:9",
            "http://api.example.com",
            "unencrypted",
        ),
        (
            "access_token_file: tok",
            "access_token_file: ~/tok",
            "`~` is not expanded",
        ),
        (
            "businesses:\n",
            "businesses:\n  - { name: other, access_token_env: T, ad_accounts: [{ id: 10150000000001201 }] }\n",
            "count it twice",
        ),
    ] {
        let text = BASE.replacen(part, replacement, 1);
        let warnings = warnings(&text);
        assert!(
            warnings.contains(expected),
            "expected {expected:?} in {warnings:?}"
        );
    }
    assert_eq!(warnings(BASE), "", "the base config should have no warning");
}

#[test]
fn built_in_extra_field_is_ignored() {
    let text = BASE.replacen("graph:", "insights: { extra_fields: [{ field: marketing_messages_spend, metric: spend, kind: money }] }\ngraph:", 1);
    let config = parse_main(&text).expect("the config should be accepted");
    assert!(config.insights.extra_fields.is_empty());
}

#[test]
fn file_variable_is_expanded_relative_to_the_document() {
    let text = BASE.replacen("tok\n", "${FOLDER}/$$acme\n", 1);
    let main = NamedDocument {
        name: "/etc/exporter/config.yaml".to_owned(),
        text,
    };
    let unchecked = UncheckedConfig::parse(main).expect("the shape should be right");
    let variables = |name: &str| (name == "FOLDER").then(|| "secrets".to_owned());
    let config = unchecked
        .with_variables(variables)
        .check(&[])
        .expect("the config should be accepted");
    assert_eq!(
        config.businesses[0].token.to_string(),
        "file /etc/exporter/secrets/$acme"
    );
}

#[test]
fn defaults_are_overridden_by_businesses_and_sources() {
    let config = parse_main(
        "defaults:
  labels: { team: growth, region: eu }
  thresholds: [{ window: today, min_roas: 2, max_spend: 100 }]
  interval: 30m
  conversions: false
businesses:
  - name: acme
    access_token_env: T
    labels: { region: us }
    thresholds: [{ window: today, max_spend: 500 }]
    ad_accounts: [{ id: act_1, conversions: true }]
  - { name: globex, access_token_env: T, interval: 1h, ad_accounts: all, exclude: [act_3] }
",
    )
    .expect("the config should be accepted");
    let acme = &config.businesses[0];
    let account = &acme.ad_accounts[0];
    assert_eq!(acme.interval.map(|interval| interval.as_secs()), Some(1800));
    assert!(
        account.conversions,
        "the source should override the defaults"
    );
    assert_eq!(
        (account.labels.get("region"), account.labels.get("team")),
        (Some("us"), Some("growth"))
    );
    let today = account.thresholds.for_window("today").expect("thresholds");
    assert_eq!((today.min_roas, today.max_spend), (Some(2.0), Some(500.0)));
    let globex = &config.businesses[1];
    assert_eq!(
        globex.interval.map(|interval| interval.as_secs()),
        Some(3600)
    );
    let all = globex.all_ad_accounts.as_ref().expect("all ad accounts");
    assert!(!all.conversions);

    let listed = ["2", "3"].map(|id| id.parse_account()).to_vec();
    let config = config.with_listed_accounts(&[("globex".to_owned(), listed)].into());
    let accounts = &config.businesses[1].ad_accounts;
    assert_eq!(accounts.len(), 1, "act_3 should be excluded: {accounts:?}");
    assert_eq!(accounts[0].labels.get("team"), Some("growth"));
}

/// Parses ids in tests.
trait ParseAccount {
    fn parse_account(&self) -> marketing_messages_exporter::model::AccountId;
}

impl ParseAccount for &str {
    fn parse_account(&self) -> marketing_messages_exporter::model::AccountId {
        marketing_messages_exporter::model::AccountId::parse(self).expect("an id")
    }
}

#[test]
fn json_is_accepted() {
    let config = serde_json::json!({
        "graph": {"version": "v27.0"},
        "businesses": [{
            "name": "acme",
            "access_token_file": "tok",
            "ad_accounts": [{"id": "act_10150000000001201"}],
        }],
    });
    for text in [config.to_string(), format!("{config:#}")] {
        let config = parse_main(&text).expect("the config should be accepted");
        assert_eq!(config.businesses[0].name, "acme");
    }
}

#[test]
fn app_id_without_secret_is_accepted() {
    let text = BASE.replacen("graph:\n", "graph:\n  app_id: 12\n", 1);
    let config = parse_main(&text).expect("the config should be accepted");
    let app = config.businesses[0].app.as_ref().expect("an app");
    assert_eq!((app.id.as_str(), &app.secret), ("12", &None));
}

#[test]
fn business_file_with_main_key_names_the_list() {
    let main = NamedDocument {
        name: "config.yaml".to_owned(),
        text: BASE.to_owned(),
    };
    let file = NamedDocument {
        name: "conf.d/a.yaml".to_owned(),
        text: "businesses:\n  - name: b\n".to_owned(),
    };
    let errors = Config::parse(main, vec![file]).expect_err("the file should be refused");
    assert!(
        errors.to_string().contains("without `businesses:`"),
        "{errors}"
    );
}

/// Contents of a token file, each with the answer of `check`; an empty answer means that the file is valid.
const TOKEN_FILES: [(&[u8], &str); 9] = [
    (b"EAAB123\r\n", ""),
    (b"  EAAB123  ", ""),
    (b"EAAB\n123", "found several lines"),
    (
        b"\"EAAB123\"",
        "found quotation marks around it; remove them",
    ),
    (b"Bearer EAAB123", "found the prefix `Bearer`"),
    (
        b"\xef\xbb\xbfEAAB123",
        "found a byte order mark at its start",
    ),
    (b"\xff\xfeE\0", "UTF-16; save the file as UTF-8"),
    (b"", "found nothing; write the secret to it"),
    (b"EA\0AB", "found a NUL byte at byte 2"),
];

/// Config and token file in a temporary folder, removed on drop.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("mme-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.yaml"), BASE).unwrap();
        Self(folder)
    }

    fn write_token(&self, content: &[u8], mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.0.join("tok");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Runs `check --strict`; returns its exit status and output.
    async fn check(&self) -> (Option<i32>, String) {
        let file = format!("--config.file={}", self.0.join("config.yaml").display());
        let arguments = ["check", "--strict", &file];
        let (code, out, log) = Program::bare(&arguments).end().await;
        (code, out + &log.join("\n"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A remaining temporary folder does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn check_describes_what_is_wrong_with_a_token_file() {
    let folder = Folder::new("mistakes");
    let (code, output) = folder.check().await;
    assert_eq!(code, Some(1), "{output}");
    assert!(
        output.contains("create the file and write the secret into it"),
        "{output}"
    );
    for (content, expected) in TOKEN_FILES {
        folder.write_token(content, 0o600);
        let (code, output) = folder.check().await;
        assert_eq!(code, Some(i32::from(!expected.is_empty())), "{output}");
        assert!(output.contains(expected), "{expected}: {output}");
        assert!(!output.contains("create the file"), "{output}");
        assert!(!output.contains("EAAB"), "{output}");
    }
    folder.write_token(b"EAAB123", 0o644);
    let (code, output) = folder.check().await;
    assert_eq!(code, Some(1), "{output}");
    assert!(
        output.contains("every user of this system can read"),
        "{output}"
    );
}

#[tokio::test]
async fn check_describes_the_encoding_of_a_config() {
    let folder = Folder::new("encoding");
    folder.write_token(b"EAAB123", 0o600);
    let utf16: Vec<u8> = BASE.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (content, code, expected) in [
        ([b"\xef\xbb\xbf", BASE.as_bytes()].concat(), 0, "valid"),
        (BASE.replace('\n', "\r\n").into_bytes(), 0, "valid"),
        (
            [b"\xff\xfe".to_vec(), utf16].concat(),
            2,
            "save the file as UTF-8",
        ),
    ] {
        std::fs::write(folder.0.join("config.yaml"), content).unwrap();
        let (found, output) = folder.check().await;
        assert_eq!(found, Some(code), "{output}");
        assert!(output.contains(expected), "{expected}: {output}");
    }
}

#[tokio::test]
async fn invalid_listen_address_names_its_flag() {
    for flag in ["--web.listen-address", "--simulator.listen-address"] {
        for address in ["foo", "10919", ":http"] {
            let argument = format!("{flag}={address}");
            let (code, _, log) = Program::bare(&["demo", &argument]).end().await;
            assert_eq!(code, Some(2), "{log:#?}");
            let expected = format!("{flag}={address}: expected ");
            assert!(
                log.iter()
                    .any(|line| line.contains(&expected) && line.contains(":10919")),
                "{expected}: {log:#?}"
            );
        }
    }
}
