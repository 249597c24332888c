//! Users that a business defines in the config (`web_users`): what they see, and that they change
//! together with their business.

use std::fs;
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Folder, HANG_GUARD, LOW_BCRYPT_COST, served_address};
use crate::harness::{Api, Visitor, token, wait_until};
use crate::page::Page;
use crate::process::Program;

const AURORA: &str = "act_10150000000001101";
const NORDLICHT: &str = "act_10150000000001201";

/// Files of an exporter with a web config and business files, and the hashes that must not be shown.
struct Files {
    folder: Folder,
    url: String,
}

impl Files {
    /// Writes a config with the business `own`, and a web config with the user `ops`.
    fn new(api: &Api) -> Self {
        let files = Self {
            folder: Folder::new(),
            url: api.simulator.url(),
        };
        fs::create_dir(files.folder.0.join("conf.d")).unwrap();
        files.folder.write("aurora", &token("AURORA"));
        files.folder.write("nordlicht", &token("NORDLICHT"));
        files.write_main("");
        files.write_web("ops: open");
        files
    }

    /// Writes the main file, with these keys of its only business.
    fn write_main(&self, keys: &str) -> PathBuf {
        let text = format!(
            "graph: {{ url: \"{}\" }}
windows: [{{ name: today, date_preset: today }}]
business_files: [conf.d/*.yaml]
businesses:
  - {{ name: own, access_token_env: NONE, ad_accounts: [{{ id: act_10150000000001301 }}]{keys} }}
",
            self.url
        );
        self.folder.write("config.yaml", &text)
    }

    /// Writes the file of the business `name`, with these users: `NAME: PASSWORD, …`.
    fn write_business(&self, name: &str, account: &str, users: &str) {
        let text = format!(
            "- name: {name}\n  access_token_file: ../{name}\n  ad_accounts: [{{ id: {account} }}]\n  web_users: {{ {} }}\n",
            hashed(users)
        );
        self.folder.write(&format!("conf.d/{name}.yaml"), &text);
    }

    fn write_web(&self, users: &str) -> PathBuf {
        let text = format!("basic_auth_users: {{ {} }}\n", hashed(users));
        self.folder.write("web.yaml", &text)
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.folder.0.join(name)).unwrap();
    }

    fn flags(&self) -> Vec<String> {
        let path = |name: &str| self.folder.0.join(name).display().to_string();
        vec![
            format!("--config.file={}", path("config.yaml")),
            format!("--web.config.file={}", path("web.yaml")),
            "--web.listen-address=127.0.0.1:0".to_owned(),
            "--web.enable-lifecycle".to_owned(),
        ]
    }

    async fn start(&self, more_flags: &[&str]) -> (Program, Visitor) {
        let flags = self.flags();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let program = Program::bare(&[&flags, more_flags].concat());
        let address = served_address(&program).await;
        (program, Visitor { address })
    }
}

/// Replaces the passwords of `NAME: PASSWORD, …` by hashes. A password that begins with `=` is written
/// as it is.
fn hashed(users: &str) -> String {
    let users = users.split(", ").filter(|user| !user.is_empty());
    let users = users.map(|user| {
        let (name, password) = user.split_once(": ").unwrap();
        match password.strip_prefix('=') {
            Some(text) => format!("{name}: {text}"),
            None => {
                let hash = bcrypt::hash(password, LOW_BCRYPT_COST).unwrap();
                format!("{name}: {hash}")
            }
        }
    });
    users.collect::<Vec<_>>().join(", ")
}

/// Returns the header for `NAME:PASSWORD`.
fn login(user: &str) -> String {
    format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(user))
}

async fn status_of(visitor: &Visitor, method: &str, path: &str, user: &str) -> u16 {
    visitor.request(method, path, &login(user)).await.status
}

async fn reload(visitor: &Visitor) -> (u16, String) {
    let response = visitor
        .request("POST", "/-/reload", &login("ops:open"))
        .await;
    (response.status, response.text())
}

/// Sends a request on a persistent connection, and returns its status.
async fn status_on(stream: &mut TcpStream, user: &str) -> u16 {
    let request = format!("HEAD /metrics HTTP/1.1\r\nHost: h\r\n{}\r\n", login(user));
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let byte = timeout(HANG_GUARD, stream.read_u8()).await.unwrap();
        head.push(char::from(byte.unwrap()));
    }
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn user_sees_exactly_its_business() {
    let api = Api::demo().await;
    let files = Files::new(&api);
    files.write_business("aurora", AURORA, "aurora-team: a, second: b");
    files.write_business("nordlicht", NORDLICHT, "nordlicht-team: n");
    let (program, visitor) = files.start(&[]).await;
    let team = login("aurora-team:a");
    loop {
        let page = visitor.request("GET", "/metrics", &team).await.text();
        if page.contains("marketing_messages_delivered{") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(15)).await;
    }
    for user in ["aurora-team:a", "second:b"] {
        for path in ["/", "/metrics", "/api/status", "/metrics?business=aurora"] {
            let response = visitor.request("GET", path, &login(user)).await;
            let text = response.text();
            assert_eq!(response.status, 200, "{user} {path}");
            assert!(text.contains("aurora"), "{user} {path}: {text}");
            for hidden in ["nordlicht", NORDLICHT, "act_10150000000001301", "$2"] {
                assert!(!text.contains(hidden), "{user} {path}: {text}");
            }
        }
        for path in ["/", "/metrics", "/api/status"] {
            let mut answers = Vec::new();
            for business in ["nordlicht", "own", "none"] {
                let path = format!("{path}?business={business}");
                let response = visitor.request("GET", &path, &login(user)).await;
                answers.push((response.status, response.text()));
            }
            assert_eq!(answers[0].0, 404, "{path}");
            assert!(answers.iter().all(|answer| *answer == answers[0]), "{path}");
        }
        for path in ["/-/reload", "/-/poll"] {
            assert_eq!(status_of(&visitor, "POST", path, user).await, 403, "{path}");
        }
    }
    for refused in ["aurora-team:n", "nordlicht-team:a", "none:a", "ops:a"] {
        let status = status_of(&visitor, "GET", "/metrics", refused).await;
        assert_eq!(status, 401, "{refused}");
    }
    // Without `business_scopes`, users of the web config see everything.
    let page = visitor.request("GET", "/metrics", &login("ops:open")).await;
    assert_eq!(Page::parse(&page.text()).all("up", &[]).len(), 3);
    let logged = program.lines("access policy in force");
    assert!(logged[0].contains("business_users=3"), "{logged:?}");
    assert_eq!(program.lines("$2"), Vec::<String>::new());
}

#[tokio::test]
async fn reload_adds_and_removes_user_with_its_business() {
    let api = Api::demo().await;
    let files = Files::new(&api);
    let (_program, visitor) = files.start(&[]).await;
    let team = "aurora-team:a";
    assert_eq!(status_of(&visitor, "GET", "/metrics", team).await, 401);
    let mut connection = TcpStream::connect(visitor.address).await.unwrap();
    assert_eq!(status_on(&mut connection, "ops:open").await, 200);
    files.write_business("aurora", AURORA, "aurora-team: a");
    assert_eq!(reload(&visitor).await.0, 200);
    // On connections that were opened before, too.
    assert_eq!(status_on(&mut connection, team).await, 200);
    assert_eq!(
        status_of(&visitor, "GET", "/?business=aurora", team).await,
        200
    );
    files.write_business("aurora", AURORA, "aurora-team: changed");
    assert_eq!(reload(&visitor).await.0, 200);
    assert_eq!(status_on(&mut connection, team).await, 401);
    let changed = "aurora-team:changed";
    assert_eq!(status_on(&mut connection, changed).await, 200);
    files.remove("conf.d/aurora.yaml");
    assert_eq!(reload(&visitor).await.0, 200);
    for user in [team, changed] {
        assert_eq!(status_on(&mut connection, user).await, 401, "{user}");
        assert_eq!(status_of(&visitor, "GET", "/metrics", user).await, 401);
    }
    assert_eq!(status_on(&mut connection, "ops:open").await, 200);
    // The name is free again, also for another business.
    files.write_business("nordlicht", NORDLICHT, "aurora-team: a");
    assert_eq!(reload(&visitor).await.0, 200);
    assert_eq!(
        status_of(&visitor, "GET", "/?business=aurora", team).await,
        404
    );
    assert_eq!(
        status_of(&visitor, "GET", "/?business=nordlicht", team).await,
        200
    );
}

#[tokio::test]
async fn invalid_file_keeps_its_users_and_those_of_others() {
    let api = Api::demo().await;
    let files = Files::new(&api);
    files.write_business("aurora", AURORA, "aurora-team: a");
    files.write_business("nordlicht", NORDLICHT, "nordlicht-team: n");
    let (program, visitor) = files.start(&[]).await;
    const IN_FORCE: [&str; 2] = ["aurora-team:a", "nordlicht-team:n"];
    // In the order of the files, `aurora` comes first.
    for (users, expected) in [
        (
            "ops: x",
            "aurora.yaml:4: [0].web_users.ops: expected a user name that is not in the web config file",
        ),
        (
            "nordlicht-team: x",
            "[0].web_users.nordlicht-team: expected a user of one business, found a user name of `[0].web_users` in ",
        ),
        (
            "aurora-team: =geheim",
            "[0].web_users.aurora-team: expected a bcrypt hash, found another string; create one with `htpasswd -nBC 10 NAME`",
        ),
        (
            "aurora-team: =12345",
            "[0].web_users.aurora-team: expected a bcrypt hash",
        ),
    ] {
        files.write_business("aurora", AURORA, users);
        let (status, errors) = reload(&visitor).await;
        assert_eq!(status, 500, "{users}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert!(errors.contains(expected), "{errors}");
        for user in IN_FORCE {
            let status = status_of(&visitor, "GET", "/metrics", user).await;
            assert_eq!(status, 200, "{users}: {user}");
        }
        assert_eq!(status_of(&visitor, "GET", "/metrics", "ops:x").await, 401);
        let page = visitor.request("GET", "/", &login("ops:open")).await.text();
        assert!(page.contains("web_users"), "errors should be shown: {page}");
        for secret in ["$2", "geheim", "12345"] {
            assert!(
                !page.contains(secret) && !errors.contains(secret),
                "{errors}"
            );
            assert_eq!(program.lines(secret), Vec::<String>::new());
        }
        let page = visitor
            .request("GET", "/", &login(IN_FORCE[1]))
            .await
            .text();
        assert!(!page.contains("aurora"), "{page}");
    }
    // A new file that comes first cannot take the name of a user.
    files.write_business("aurora", AURORA, "aurora-team: a");
    let text = fs::read_to_string(files.folder.0.join("conf.d/nordlicht.yaml")).unwrap();
    let thief = text.replace("- name: nordlicht", "- name: thief");
    files.folder.write("conf.d/0.yaml", &thief);
    let (status, errors) = reload(&visitor).await;
    assert_eq!(status, 500);
    assert!(
        errors.contains("conf.d/0.yaml:4: [0].web_users.nordlicht-team"),
        "{errors}"
    );
    let path = "/?business=nordlicht";
    assert_eq!(status_of(&visitor, "GET", path, IN_FORCE[1]).await, 200);
}

#[tokio::test]
async fn web_config_that_contradicts_business_users_is_refused() {
    let api = Api::demo().await;
    let files = Files::new(&api);
    files.write_business("aurora", AURORA, "aurora-team: a");
    let (program, visitor) = files.start(&[]).await;
    let in_force = async |case: &str| {
        for (user, status) in [
            ("ops:open", 200),
            ("aurora-team:a", 200),
            ("aurora-team:b", 401),
        ] {
            let found = status_of(&visitor, "GET", "/metrics", user).await;
            assert_eq!(found, status, "{case}: {user}");
        }
        let anonymous = visitor.request("GET", "/metrics", "").await.status;
        assert_eq!(anonymous, 401, "{case}");
    };
    for (web, expected) in [
        (
            "ops: open, aurora-team: b",
            "basic_auth_users.aurora-team: expected a user name that no business has",
        ),
        (
            "",
            "basic_auth_users: expected at least one user, because the business aurora has `web_users`",
        ),
    ] {
        files.write_web(web);
        // Keeps the file from being empty.
        let path = files.folder.0.join("web.yaml");
        let text = fs::read_to_string(&path).unwrap() + "http_server_config: { http2: true }\n";
        fs::write(&path, text).unwrap();
        in_force(web).await;
        // A deliberate reload does not open the server either.
        let (status, errors) = reload(&visitor).await;
        assert_eq!(status, 500, "{web}");
        assert!(errors.contains(expected), "{errors}");
        in_force(web).await;
    }
    // Both are removed: a deliberate reload opens the server.
    files.remove("conf.d/aurora.yaml");
    assert_eq!(reload(&visitor).await, (200, "reloaded\n".to_owned()));
    assert_eq!(visitor.request("GET", "/metrics", "").await.status, 200);
    // An open server refuses a business with users.
    files.write_business("aurora", AURORA, "aurora-team: a");
    let response = visitor.request("POST", "/-/reload", "").await;
    assert_eq!(response.status, 500);
    let expected = "[0].web_users: expected a web config file with `basic_auth_users`, found none";
    assert!(response.text().contains(expected), "{}", response.text());
    let page = visitor.request("GET", "/metrics", "").await.text();
    assert!(!page.contains("business=\"aurora\""), "{page}");
    assert_eq!(program.lines("$2"), Vec::<String>::new());
}

#[tokio::test]
async fn user_moves_between_files_in_one_reload() {
    let api = Api::demo().await;
    let files = Files::new(&api);
    files.write_web("ops: open, aurora-team: web");
    files.write_business("aurora", AURORA, "");
    let (_program, visitor) = files.start(&["--config.auto-reload-interval=0s"]).await;
    let statuses = async || {
        let mut statuses = Vec::new();
        for password in ["web", "file"] {
            let user = format!("aurora-team:{password}");
            statuses.push(status_of(&visitor, "GET", "/metrics", &user).await);
        }
        statuses
    };
    assert_eq!(statuses().await, [200, 401]);
    files.write_web("ops: open");
    files.write_business("aurora", AURORA, "aurora-team: file");
    assert_eq!(reload(&visitor).await.0, 200);
    assert_eq!(statuses().await, [401, 200]);
    files.write_web("ops: open, aurora-team: web");
    files.write_business("aurora", AURORA, "");
    assert_eq!(reload(&visitor).await.0, 200);
    assert_eq!(statuses().await, [200, 401]);
}

#[tokio::test]
async fn refused_file_is_retried_when_web_config_changes() {
    let api = Api::demo().await;
    let files = Files::new(&api);
    files.write_web("ops: open, aurora-team: web");
    files.write_business("aurora", AURORA, "aurora-team: file");
    let (program, visitor) = files.start(&["--config.auto-reload-interval=50ms"]).await;
    // The file is refused at the start, the other business is served.
    assert_eq!(program.lines("business files refused").len(), 1);
    let team = "aurora-team:file";
    assert_eq!(status_of(&visitor, "GET", "/metrics", team).await, 401);
    files.write_web("ops: open");
    wait_until("config is reloaded", || {
        !program.lines("msg=\"config reloaded\"").is_empty()
    })
    .await;
    assert_eq!(status_of(&visitor, "GET", "/metrics", team).await, 200);
}

#[tokio::test]
async fn config_with_users_needs_web_config_with_users() {
    let api = Api::demo().await;
    let files = Files::new(&api);
    let hash = hashed("own-team: x");
    files.write_main(&format!(", web_users: {{ {hash} }}, intervall: 1h"));
    files.write_business("aurora", AURORA, "aurora-team: =x");
    files
        .folder
        .write("web.yaml", "http_server_config: { http2: true }\n");
    let [config, web, ..] = &files.flags()[..] else {
        unreachable!()
    };
    const NO_USERS: &str = "config.yaml:5: businesses[0].web_users: expected a web config file with `basic_auth_users`, found none";
    for (flags, expected) in [
        (
            vec![config.as_str()],
            &[NO_USERS, "intervall", "aurora-team"][..],
        ),
        (
            vec![config, web],
            &[NO_USERS, "intervall", "aurora-team"][..],
        ),
    ] {
        for command in [&["check"][..], &["--web.listen-address=127.0.0.1:0"]] {
            let program = Program::bare(&[command, &flags].concat());
            let (status, output, log) = program.end().await;
            let text = format!("{output}\n{}", log.join("\n"));
            assert_eq!(status, Some(2), "{text}");
            for part in expected {
                assert!(text.contains(part), "{command:?}: {part}: {text}");
            }
            assert!(!text.contains("$2"), "{text}");
        }
    }
    // Errors of the web config are reported together with those of the config.
    files.write_web("ops: =y");
    let program = Program::bare(&["check", config, web]);
    let (status, _, log) = program.end().await;
    let text = log.join("\n");
    assert_eq!(status, Some(2), "{text}");
    for part in ["intervall", "aurora-team", "basic_auth_users.ops"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Commands that do not serve need no web config.
    files.write_main(&format!(", web_users: {{ {hash} }}"));
    files.write_business("aurora", AURORA, "aurora-team: a");
    files.write_web("ops: open");
    let program = Program::bare(&["check", config, web]);
    let (status, output, log) = program.end().await;
    assert_eq!(status, Some(0), "{output} {log:?}");
    let program = Program::bare(&["once", config]);
    let (status, _, log) = program.end().await;
    assert_ne!(status, Some(2), "{log:?}");
}
