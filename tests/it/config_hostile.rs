//! Hostile configs: no input may disclose a secret, take long or cause a panic.

use marketing_messages_exporter::config::UncheckedConfig;

use crate::config::{document, parse_main};

/// With one parser run per error instead of a limited number, the test would take minutes.
const AD_ACCOUNTS: usize = 2000;

#[test]
fn error_does_not_contain_secret() {
    for secret in [
        "EAABsbCS1iHgBAKZCtoken",
        "1234567890|abcdefghijklmnopqrstuvwxyz",
        &"0f".repeat(16),
    ] {
        let business = |line: &str| format!("businesses:\n  - name: acme\n    {line}\n");
        for text in [
            business(&format!("access_token: {secret}")),
            business(&format!("access_token_file: {{ {secret}: 1 }}")),
            business(&format!("access_token_file: [{secret}]")),
            business(&format!("access_token_file: {{value: {secret}}}")),
            business(&format!("access_token_env: {secret}")),
            business(&format!("access_token_env: [{secret}]")),
            business(&format!("{secret}: 1")),
            business(&format!("? {secret}\n    : [{secret}")),
            business(&format!("labels: {{ \"{secret}\": \"\" }}")),
            business(&format!("labels: {{ \"{secret}\": [] }}")),
            business(&format!("labels: {{ \"{secret}\": a, \"{secret}\": b }}")),
            business(&format!("interval: {secret}")),
            business(&format!("enabled: {secret}")),
            business(&format!("ad_accounts: {secret}")),
            business(&format!(
                "ad_accounts: [{{id: {secret}, campaigns: [{secret}]}}]"
            )),
            business(&format!(
                "thresholds: [{{window: {secret}, max_spend: {secret}}}]"
            )),
            business(&format!("thresholds: [{{window: {secret}, max_spend: 1}}]")),
            business(&format!("app_secret_env: {secret}\n    app_id: {secret}")),
            business(&format!(
                "access_token_env: A\n    access_token_file: {secret}\n   x: {secret}"
            )),
            business(&format!("enabled: !{secret} true")),
            business(&format!("enabled: *{secret}")),
            format!("graph: {{ app_secret: {secret}, url: {secret} }}"),
            format!("graph: {{ url: 'https://{secret}@graph.facebook.com', version: '{secret}' }}"),
            format!("graph: {{ url: 'https://graph.facebook.com?access_token={secret}' }}"),
            format!(
                "insights: {{ level: '{secret}', zero_fill: '{secret}', action_types: ['{secret}', '{secret}'] }}"
            ),
            format!(
                "insights: {{ extra_fields: [{{field: '{secret}', metric: '{secret}', kind: '{secret}', help: ''}}] }}"
            ),
            format!(
                "windows: [{{name: '{secret}', date_preset: '{secret}'}}, {{name: '{secret}', time_range: {{since: '{secret}', until: 2026-01-01}}}}]"
            ),
            format!("- {secret}"),
            secret.to_owned(),
            format!("\"{secret}\": {secret}\n\"{secret}\": 1"),
            format!("%{secret}\n---\na: 1"),
            format!("a: \"{secret}\n"),
        ] {
            let errors = parse_main(&text).expect_err("the config should be rejected");
            assert!(
                !errors.contains(secret),
                "the secret should not be shown:\n{text}\n{errors}"
            );
        }
    }
}

#[test]
fn large_config_with_an_error_per_account_is_parsed() {
    let accounts = |id: &str| -> String {
        (1..=AD_ACCOUNTS)
            .map(|n| format!("      - {{id: {id}{n}, labels: {{team: growth}}}}\n"))
            .collect()
    };
    let text = |id| {
        format!(
            "businesses:\n  - name: acme\n    access_token_env: T\n    ad_accounts:\n{}",
            accounts(id)
        )
    };
    assert_eq!(
        parse_main(&text("act_")).map(|config| config.businesses[0].ad_accounts.len()),
        Ok(AD_ACCOUNTS)
    );
    let errors = parse_main(&text("x")).expect_err("all ids should be rejected");
    assert_eq!(errors.lines().count(), AD_ACCOUNTS);
}

proptest::proptest! {
    #[test]
    fn any_text_does_not_panic(text in "\\PC*", lines in "(?s).{0,300}") {
        let _ = parse_main(&text);
        let _ = parse_main(&lines);
    }

    /// Text of YAML punctuation and keys of the config, which gets further than random characters.
    #[test]
    fn yaml_like_text_does_not_panic(tokens in proptest::collection::vec(
        proptest::sample::select(vec![
            "businesses", "graph", "windows", "name", "labels", "campaigns", ": ", ":\n  ", "\n- ", "\n",
            "[", "]", "{", "}", ", ", "'", "\"", "&a ", "*a", "!t ", "~", "1", "1.5", "true", "x", "<<", "? ", "é",
        ]), 0..40)) {
        let _ = parse_main(&tokens.concat());
        let _ = UncheckedConfig::parse(document("m", "business_files: ['*']")).map(|unchecked| {
            unchecked.check_partially(&[document("b", &tokens.concat())], &[])
        });
    }
}
