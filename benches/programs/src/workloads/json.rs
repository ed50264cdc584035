//! A service that reads and writes JSON.

use serde_json::{Value, json};

use crate::Checksum;
use bench_common::inputs::Writer;

const DOCUMENTS: usize = 15;
const ORDERS: usize = 500;

/// Parses documents, works out totals, throws parts away, and prints them.
pub(super) fn perform(checksum: &mut Checksum) {
    let mut writer = Writer::new(3);
    let mut archive: Vec<Value> = Vec::new();
    for _ in 0..DOCUMENTS {
        let text = writer.json(ORDERS);
        let mut document: Value = serde_json::from_str(&text).expect("the text is well-formed");
        complete(&mut document);
        checksum.add(document.to_string());
        archive.push(document);
    }
    checksum.add(serde_json::to_string_pretty(&archive).expect("a value can always be printed"));
}

/// Gives every order its total, drops those without a note, and copies the dearest one to the front.
fn complete(document: &mut Value) {
    let orders = document["orders"].as_array_mut().expect("a document has orders");
    orders.retain(|order| order["note"].is_string());
    for order in orders.iter_mut() {
        let items = order["items"].as_array().expect("an order has items");
        let cents = items.iter().map(|item| item["price"].as_f64().map_or(0, |price| (price * 100.0) as u64));
        let total: u64 = cents.sum();
        order["total"] = json!({ "cents": total, "text": format!("{}.{:02}", total / 100, total % 100) });
        order.as_object_mut().expect("an order is an object").remove("note");
    }
    let dearest = orders.iter().max_by_key(|order| order["total"]["cents"].as_u64()).cloned();
    document["dearest"] = dearest.unwrap_or(Value::Null);
}
