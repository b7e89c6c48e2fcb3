//! What servers do wrong, and what is made of it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something fails")]
#![cfg(not(target_arch = "wasm32"))]

mod common;

use common::{
    fixture,
    server::{Answer, Server},
    values,
};
use tu_volume::{Volume, VolumeError};

fn read(url: &str) -> Result<Vec<u64>, VolumeError> {
    let volume = Volume::open(url)?;
    volume.read_u64(&volume.region())
}

fn expected() -> Vec<u64> {
    values([0; 3], common::SHAPE)
}

#[test]
fn a_busy_server_is_asked_again() {
    for status in [429, 503, 504] {
        let server = Server::with_policy(fixture(""), move |path, before| {
            if path.contains("/c/") && before == 0 { Answer::Status(status) } else { Answer::File }
        });
        assert_eq!(read(&format!("{}/v3_zstd_uint16", server.url)).unwrap(), expected(), "{status}");
        let requests = server.requests();
        assert_eq!(requests.iter().filter(|r| r.contains("/c/0/0/0")).count(), 2, "{requests:?}");
    }
}

#[test]
fn a_server_that_stays_busy_is_given_up_and_worth_another_try() {
    let server = Server::with_policy(fixture(""), |_, _| Answer::Status(503));
    let error = Volume::open(&format!("{}/v3_zstd_uint16", server.url)).unwrap_err();
    assert!(error.retryable() && error.to_string().contains("503"), "{error}");
}

#[test]
fn a_forbidden_or_broken_chunk_is_an_error_and_never_fill_value() {
    for status in [401, 403, 500] {
        let server = Server::with_policy(fixture(""), move |path, _| {
            if path.ends_with("/c/0/1/1") { Answer::Status(status) } else { Answer::File }
        });
        let error = read(&format!("{}/v3_zstd_uint16", server.url)).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, VolumeError::Http { retryable: false, .. }), "{message}");
        assert!(message.contains("c/0/1/1") && message.contains(&status.to_string()), "{message}");
    }
}

#[test]
fn a_missing_chunk_is_fill_value() {
    let server = Server::with_policy(fixture(""), |path, _| {
        if path.ends_with("/c/0/0/0") { Answer::Status(404) } else { Answer::File }
    });
    let read = read(&format!("{}/v3_zstd_uint16", server.url)).unwrap();
    for (i, (&read, expected)) in read.iter().zip(expected()).enumerate() {
        let missing = i / 42 < 3 && i / 7 % 6 < 4 && i % 7 < 5;
        assert_eq!(read, if missing { 0 } else { expected }, "voxel {i}");
    }
}

#[test]
fn a_server_without_ranges_still_serves_shards() {
    let server = Server::with_policy(fixture(""), |_, _| Answer::WithoutRanges);
    let volume = Volume::open(&format!("{}/v3_sharded_uint8", server.url)).unwrap();
    assert_eq!(volume.read_u64(&volume.region()).unwrap(), expected());
    let region = tu_volume::Region::new([1, 1, 1], [2, 3, 2]);
    assert_eq!(volume.read_u64(&region).unwrap(), values([1, 1, 1], [2, 3, 2]));
}

#[test]
fn parts_of_a_shard_are_fetched_by_range_and_its_index_only_once() {
    let server = Server::serving(fixture(""));
    let volume = Volume::open(&format!("{}/v3_sharded_uint8", server.url)).unwrap();
    for origin in [[0, 0, 0], [2, 2, 3], [0, 2, 0]] {
        volume.read_u8(&tu_volume::Region::new(origin, [1, 1, 1])).unwrap();
    }
    let shard: Vec<String> = server.requests().into_iter().filter(|r| r.contains("/c/0/0/0")).collect();
    assert!(shard.iter().all(|r| r.contains("bytes=")), "{shard:?}");
    assert_eq!(shard.iter().filter(|r| r.contains("bytes=-")).count(), 1, "{shard:?}");
}

#[test]
fn a_transfer_that_breaks_off_is_an_error() {
    let server = Server::with_policy(fixture(""), |path, _| {
        if path.ends_with("/c/1/0/0") { Answer::HangUp } else { Answer::File }
    });
    let error = read(&format!("{}/v3_none_uint16", server.url)).unwrap_err();
    assert!(error.retryable() && error.to_string().contains("c/1/0/0"), "{error}");
}

#[test]
fn a_body_without_end_is_cut_off() {
    for endless in ["/c/1/0/0", "/zarr.json"] {
        let server = Server::with_policy(fixture(""), move |path, _| {
            if path.ends_with(endless) { Answer::Endless } else { Answer::File }
        });
        let message = read(&format!("{}/v3_none_uint16", server.url)).unwrap_err().to_string();
        assert!(message.contains("larger") && message.contains(endless), "{message}");
    }
}

#[test]
fn a_host_that_cannot_be_reached_is_named() {
    // A port that was free a moment ago, and a name that cannot exist (RFC 2606).
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for url in [format!("http://{free}/x.zarr"), "http://no-such-host.invalid/x.zarr".to_owned()] {
        let error = Volume::open(&url).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, VolumeError::Http { .. }), "{message}");
        assert!(message.contains(&url) && message.contains("could not be reached"), "{message}");
    }
}

#[test]
fn nothing_at_the_url_is_not_found_and_says_what_was_looked_for() {
    let server = Server::serving(fixture(""));
    let error = Volume::open(&format!("{}/nothing", server.url)).unwrap_err();
    assert!(
        matches!(error, VolumeError::NotFound { .. }) && error.to_string().contains("zarr.json"),
        "{error}"
    );
}

#[test]
fn a_query_follows_every_key_and_stays_out_of_messages() {
    let server = Server::serving(fixture(""));
    let volume = Volume::open(&format!("{}/v3_none_uint16?token=secret|zarr3:", server.url)).unwrap();
    assert_eq!(volume.read_u64(&volume.region()).unwrap(), expected());
    let broken = Server::with_policy(fixture(""), |path, _| {
        if path.contains("/c/") { Answer::Status(500) } else { Answer::File }
    });
    let message = read(&format!("{}/v3_none_uint16?token=secret", broken.url)).unwrap_err().to_string();
    assert!(!message.contains("secret"), "{message}");
}
