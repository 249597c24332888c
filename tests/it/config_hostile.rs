//! What no config may do, whatever stands in it: show a secret, take long, or panic.

use marketing_messages_exporter::config::Draft;

use crate::config::{document, one};

#[test]
fn no_complaint_echoes_what_may_be_a_secret() {
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
            let complaints = one(&text).expect_err("it is bad");
            assert!(!complaints.contains(secret), "{text}\n{complaints}");
        }
    }
}

#[test]
fn a_large_config_is_read_quickly_even_if_all_of_it_is_wrong() {
    let accounts = |id: &str| -> String {
        (1..=2000)
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
        one(&text("act_")).map(|c| c.businesses[0].ad_accounts.len()),
        Ok(2000)
    );
    let complaints = one(&text("x")).expect_err("all ids are wrong");
    assert_eq!(complaints.lines().count(), 2000);
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*", lines in "(?s).{0,300}") {
        let _ = one(&text);
        let _ = one(&lines);
    }

    /// Text that is likelier to be YAML, and to hold our keys, than any at random.
    #[test]
    fn no_likely_text_panics(words in proptest::collection::vec(
        proptest::sample::select(vec![
            "businesses", "graph", "windows", "name", "labels", "campaigns", ": ", ":\n  ", "\n- ", "\n",
            "[", "]", "{", "}", ", ", "'", "\"", "&a ", "*a", "!t ", "~", "1", "1.5", "true", "x", "<<", "? ", "é",
        ]), 0..40)) {
        let _ = one(&words.concat());
        let _ = Draft::read(document("m", "business_files: ['*']")).map(|draft| {
            draft.check_lenient(&[document("b", &words.concat())], &[])
        });
    }
}
