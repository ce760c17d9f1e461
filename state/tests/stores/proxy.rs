//! A proxy between a client and its server that can lose an answer: the server has done what it was
//! asked for, and the client only sees its connection break.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Lives as long as the runtime.
#[derive(Clone)]
pub struct Proxy {
    pub port: u16,
    /// Answers that still go through; negative for all of them.
    left: Arc<AtomicI64>,
}

const ALL: i64 = -1;
const LOST: i64 = -2;

impl Proxy {
    pub async fn before(server: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let proxy = Proxy { port, left: Arc::new(AtomicI64::new(ALL)) };
        let left = Arc::clone(&proxy.left);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let left = Arc::clone(&left);
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await {
                        pass(client, server, &left).await;
                    }
                });
            }
        });
        proxy
    }

    /// Loses one answer, once so many have gone through.
    pub fn lose(&self, after: i64) {
        self.left.store(after, Ordering::SeqCst);
    }

    /// Loses nothing from now on. Tells whether something was lost.
    pub fn forgive(&self) -> bool {
        self.left.swap(ALL, Ordering::SeqCst) == LOST
    }
}

async fn pass(mut client: TcpStream, mut server: TcpStream, left: &AtomicI64) {
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => match read {
                Ok(count) if count > 0 => {
                    if server.write_all(&asked[..count]).await.is_err() { return }
                }
                _ => return,
            },
            read = server.read(&mut answered) => match read {
                Ok(count) if count > 0 => {
                    let counted = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                        match left {
                            0 => Some(LOST),
                            1.. => Some(left - 1),
                            _ => None,
                        }
                    });
                    if counted == Ok(0) || client.write_all(&answered[..count]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
        }
    }
}
