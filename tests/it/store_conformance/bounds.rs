//! The bounds of keys, values and batches, at n and at n + 1.

use crate::support::stores::{key, value};
use cambist::limits;
use cambist::store::{Batch, Expect, Key, TooLarge, Value};

fn bytes(length: usize) -> Vec<u8> {
    vec![b'x'; length]
}

#[test]
fn keys_and_values_keep_their_bounds() {
    for (length, fits) in [
        (0, false),
        (1, true),
        (limits::STORE_KEY, true),
        (limits::STORE_KEY + 1, false),
    ] {
        assert_eq!(
            Key::new(&"k".repeat(length)).is_ok(),
            fits,
            "key of {length}"
        );
    }
    for (length, fits) in [
        (0, true),
        (limits::STORE_VALUE, true),
        (limits::STORE_VALUE + 1, false),
    ] {
        assert_eq!(Value::new(bytes(length)).is_ok(), fits, "value of {length}");
    }
}

#[test]
fn a_batch_keeps_its_bounds() {
    let full = (0..limits::STORE_BATCH - 1).fold(Batch::new(), |batch, number| {
        batch.put(key(&format!("k{number}")), value("")).unwrap()
    });
    let full = full.expect(key("k0"), Expect::Absent).unwrap();
    assert_eq!(full.clone().delete(key("more")).unwrap_err(), TooLarge);
    assert_eq!(
        full.clone()
            .expect(key("more"), Expect::Absent)
            .unwrap_err(),
        TooLarge
    );
    let full = full.record(*b"a record is no operation").unwrap();
    let again = full.put(key("k3"), value("the same key again")).unwrap();
    assert_eq!(again.ops().len(), limits::STORE_BATCH - 1);

    // Fifteen full values, and one that fills the batch to its last byte, with one byte for each key.
    let heavy = (0..15).fold(Batch::new(), |batch, number| {
        let name = char::from_digit(number, 16).unwrap().to_string();
        batch
            .put(key(&name), value(bytes(limits::STORE_VALUE)))
            .unwrap()
    });
    let rest = limits::STORE_BATCH_BYTES - 15 * (limits::STORE_VALUE + 1) - 1;
    assert!(heavy.clone().put(key("z"), value(bytes(rest))).is_ok());
    assert_eq!(
        heavy.clone().record(bytes(limits::STORE_RECORD)).is_ok(),
        rest >= limits::STORE_RECORD
    );
    let heavy = heavy.put(key("z"), value(bytes(rest - 1))).unwrap();
    assert!(heavy.clone().record(bytes(1)).is_ok());
    assert_eq!(heavy.record(bytes(2)).unwrap_err(), TooLarge);

    assert!(Batch::new().record(bytes(limits::STORE_RECORD)).is_ok());
    assert_eq!(
        Batch::new()
            .record(bytes(limits::STORE_RECORD + 1))
            .unwrap_err(),
        TooLarge
    );
    let lasting = Batch::new().put_lasting(key("k"), value(bytes(3))).unwrap();
    let member = serde_json::to_vec(&lasting.effects()[0]).unwrap().len() + 1;
    assert!(
        lasting
            .clone()
            .record(bytes(limits::STORE_RECORD - member))
            .is_ok()
    );
    assert!(
        lasting
            .record(bytes(limits::STORE_RECORD - member + 1))
            .is_err()
    );
}
