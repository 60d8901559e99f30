//! How long a peer may say nothing, or take nothing.

use super::*;

/// T22: slow and silent peers, before a bind and after.
#[tokio::test]
async fn idle_connections_are_told_and_closed() {
    let limits = WireLimits {
        idle_unbound: Duration::from_millis(60),
        ..WireLimits::default()
    };
    let mut client = Client::connect(Transport::Local, limits.clone()).await;
    // Octets of a message that never ends are no request.
    let message = everything(1);
    for octet in message.iter().take(5) {
        client.send(&[vec![*octet]]).await;
    }
    assert_eq!(client.disconnected().await, 52);
    assert_eq!(client.metrics.timeouts.value(), 1);

    let mut client = Client::bound(limits).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    client.send(&[specimen::extended(2, extended::WHO_AM_I, None)]).await;
    assert_eq!(client.next().await.id, 2, "a bound connection may stay longer");

    let limits = WireLimits {
        idle: Duration::from_millis(60),
        ..WireLimits::default()
    };
    let mut client = Client::bound(limits).await;
    assert_eq!(client.rest().await.len(), 0, "who asks nothing is told nothing");
    assert_eq!(client.metrics.timeouts.value(), 1);
}

/// What takes longer than the limit is not followed by the end of the connection: silence begins when the answer is written.
#[tokio::test]
async fn silence_begins_behind_the_last_answer() {
    let limits = WireLimits {
        idle: Duration::from_millis(500),
        output_octets: 1024,
        ..WireLimits::default()
    };
    let mut client = Client::overwhelmed(limits).await;
    // The search stands still until the peer reads.
    tokio::time::sleep(Duration::from_millis(700)).await;
    while client.next().await.tag != tag::SEARCH_RESULT_DONE {}
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.send(&[specimen::extended(3, extended::WHO_AM_I, None)]).await;
    assert_eq!(client.next().await.id, 3);
    assert_eq!(client.rest().await.len(), 0, "and then it counts");
    assert_eq!(client.metrics.timeouts.value(), 1);
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_let_go() {
    let limits = WireLimits {
        write_stall: Duration::from_millis(60),
        ..WireLimits::default()
    };
    let mut client = Client::overwhelmed(limits).await;
    let ended = tokio::time::timeout(Duration::from_secs(10), &mut client.served).await;
    assert_eq!(ended.expect("it ends").unwrap(), Ending::Closed);
    assert_eq!(client.metrics.timeouts.value(), 1);
}

/// It keeps what it reads from, and its time passes whether it runs or not.
#[tokio::test]
async fn a_search_that_stands_still_ends_with_its_time() {
    let limits = WireLimits {
        output_octets: 1024,
        ..WireLimits::default()
    };
    let mut client = Client::connect_with(Transport::Local, limits, 256).await;
    client.send(&[specimen::sasl_bind(1, "EXTERNAL", None)]).await;
    assert_eq!(client.next().await.code, Some(0));
    let one_second = specimen::message(2, tag::SEARCH_REQUEST, |out| {
        specimen::text(out, "o=nhs");
        put_integer(out, ber::ENUMERATED, 2);
        put_integer(out, ber::ENUMERATED, 0);
        put_integer(out, ber::INTEGER, 0);
        put_integer(out, ber::INTEGER, 1);
        specimen::boolean(out, false);
        specimen::present(out, "objectClass");
        put_nested(out, ber::SEQUENCE, |out| specimen::text(out, "cn"));
    });
    client.send(&[one_second]).await;
    let begun = std::time::Instant::now();
    while client.metrics.searches_running.value() != 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    while client.metrics.searches_running.value() != 0 {
        assert!(begun.elapsed() < Duration::from_secs(8), "it waits for the peer");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let done = loop {
        let answer = client.next().await;
        if answer.tag == tag::SEARCH_RESULT_DONE {
            break answer;
        }
    };
    assert_eq!(done.code, Some(3), "timeLimitExceeded");
}
