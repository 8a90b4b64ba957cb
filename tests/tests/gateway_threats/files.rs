//! A gateway in front of somebody else's file server.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use farthing_testkit::free_port;
use farthing_testkit::web::spellings;

use super::front::*;

const ROUTES: &str = r#"
[[route]]
path = "/vault/{*file}"
price = "0.01 XTS"

[[route]]
path = "/public/{*file}"
free = true
"#;

/// `python3 -m http.server`, killed with the test.
struct FileServer {
    child: Child,
    origin: String,
}

impl FileServer {
    fn start(directory: &Path) -> Self {
        let port = free_port();
        let mut command = Command::new("python3");
        command.args(["-m", "http.server", "--bind", "127.0.0.1", "--directory"]).arg(directory);
        let child =
            command.arg(port.to_string()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = Self { child, origin: format!("http://127.0.0.1:{port}") };
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "python3 -m http.server does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn site(directory: &Path) {
    for (path, text) in [("vault/gold.txt", CONTENT), ("public/hello.txt", "hello")] {
        let path = directory.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

#[tokio::test]
async fn t36_no_spelling_of_a_priced_file_is_read_for_free_from_a_file_server() {
    let directory = tempfile::tempdir().unwrap();
    site(directory.path());
    let server = FileServer::start(directory.path());
    let front = Front::of(&server.origin, ROUTES).await;
    let mut targets = spellings("/vault/gold.txt");
    let public = |target: &str| target.replace("/free", "/public");
    targets.extend(spellings("/vault/gold.txt").iter().map(|target| public(target)));
    targets.extend(
        ["/", "/vault", "/vault/", "//vault/", "/public/../", "/public/..//vault/"].map(str::to_owned),
    );
    assert!(targets.len() >= 120);
    let mut sold = 0;
    for target in &targets {
        let Some(reply) = front.ask("GET", target, &[], b"").await else { continue };
        assert!(!reply.text().contains(CONTENT), "{target}");
        assert!(!reply.text().contains("gold.txt</a>"), "{target} lists the vault");
        assert_ne!(reply.status, 200, "{target}");
        if reply.status == 402 {
            let paid = front.send_paid("GET", target, &front.sign(&reply), b"").await;
            // A file that is not there costs nothing.
            assert_eq!(paid.status == 200, paid.text().contains(CONTENT), "{target}: {}", paid.status);
            sold += usize::from(paid.status == 200);
        }
    }
    assert!(sold >= 1);
    assert_eq!((front.captures().await, front.balance().await), (sold, FUNDS - sold as u128 * PRICE));
    assert_eq!(front.send("GET", "/public/hello.txt", &[], b"").await.text(), "hello");
    let payment = front.pay("GET", "/vault/gold.txt", b"").await;
    assert_eq!(front.send_paid("GET", "/vault/gold.txt", &payment, b"").await.text(), CONTENT);
}

#[tokio::test]
async fn t37_a_file_server_answers_a_paid_head_and_no_unpaid_one() {
    let directory = tempfile::tempdir().unwrap();
    site(directory.path());
    let server = FileServer::start(directory.path());
    let front = Front::of(&server.origin, ROUTES).await;
    let unpaid = front.send("HEAD", "/vault/gold.txt", &[], b"").await;
    assert_eq!((unpaid.status, unpaid.header("last-modified"), unpaid.header("etag")), (402, None, None));
    let length = CONTENT.len().to_string();
    assert_ne!(unpaid.header("content-length"), Some(length.as_str()));
    front.unpaid().await;
    let paid = front.send_paid("HEAD", "/vault/gold.txt", &front.sign(&unpaid), b"").await;
    assert_eq!((paid.status, paid.header("content-length")), (200, Some(length.as_str())));
    assert!(paid.header("last-modified").is_some());
    assert_eq!(front.captures().await, 1);
}
