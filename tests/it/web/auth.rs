//! Users: who is let in, what others are told, and that both are taken up anew.

use super::{Folder, Guarded};

/// `alice:open` and `alice:shut`.
const OPEN: &str = "Authorization: Basic YWxpY2U6b3Blbg==\r\n";
const SHUT: &str = "Authorization: Basic YWxpY2U6c2h1dA==\r\n";

fn users(password: &str) -> String {
    // A low cost: what a hash costs is tested beside the code.
    let hash = bcrypt::hash(password, 4).unwrap();
    format!("basic_auth_users:\n  alice: {hash}\n")
}

#[tokio::test]
async fn every_page_asks_for_a_name_and_a_password() {
    let folder = Folder::new();
    let server = Guarded::start(&folder.write("web.yaml", &users("open"))).await;
    for path in [
        "/",
        "/metrics",
        "/-/healthy",
        "/-/ready",
        "/-/reload",
        "/none",
    ] {
        let refused = server.get(path, "").await;
        assert!(refused.starts_with("HTTP/1.1 401 "), "{path}: {refused}");
        assert!(refused.contains("www-authenticate: Basic"), "{refused}");
        let refused = server.get(path, SHUT).await;
        assert!(refused.starts_with("HTTP/1.1 401 "), "{path}: {refused}");
        assert!(!refused.contains("acme"), "{refused}");
    }
    let answer = server.get("/metrics", OPEN).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test]
async fn a_changed_password_counts_from_the_next_connection() {
    let folder = Folder::new();
    let web = folder.write("web.yaml", &users("open"));
    let server = Guarded::start(&web).await;
    assert!(server.get("/metrics", OPEN).await.contains("200 OK"));
    folder.write("web.yaml", &users("shut"));
    assert!(server.get("/metrics", OPEN).await.contains(" 401 "));
    assert!(server.get("/metrics", SHUT).await.contains("200 OK"));
    // What is wrong opens nothing.
    folder.write("web.yaml", "basic_auth_user: {}\n");
    assert!(server.get("/metrics", "").await.contains(" 401 "));
    assert!(server.get("/metrics", SHUT).await.contains("200 OK"));
}

#[tokio::test]
async fn headers_and_a_rate_limit_are_those_of_the_file() {
    let folder = Folder::new();
    let web = "http_server_config: { headers: { X-Frame-Options: deny, Content-Security-Policy: default-src 'self' } }\nrate_limit: { interval: 1h, burst: 2 }\n";
    let server = Guarded::start(&folder.write("web.yaml", web)).await;
    let answer = server.get("/", "").await;
    assert!(answer.contains("x-frame-options: deny"), "{answer}");
    assert_eq!(answer.matches("content-security-policy").count(), 1);
    assert!(server.get("/", "").await.contains("200 OK"));
    let refused = server.get("/", "").await;
    assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
}
