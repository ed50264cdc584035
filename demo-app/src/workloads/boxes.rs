//! A binary search tree: one `Box` per node, given back in another order than it was allocated.

use super::{fingerprint, scrambled};
use crate::stage::Stage;
use crate::trouble::Trouble;

const COUNT: usize = 10_000;

/// An empty tree, or a node with two subtrees.
type Tree = Option<Box<Node>>;

struct Node {
    key: u32,
    lower: Tree,
    higher: Tree,
}

/// Puts numbers into order by a search tree.
pub(crate) fn run(stage: &mut Stage<'_>) -> Result<(), Trouble<'static>> {
    let mut tree = None;
    for key in scrambled(COUNT) {
        insert(&mut tree, key);
    }
    let mut in_order = Vec::new();
    visit(&tree, &mut in_order);
    stage.snapshot();
    let mut sorted: Vec<u32> = scrambled(COUNT).collect();
    sorted.sort_unstable();
    sorted.dedup();
    stage.check("nodes of the tree", in_order.len(), "sorted without repetitions", sorted.len())?;
    stage.check(
        "fingerprint of their order",
        fingerprint(&in_order),
        "of the sorted numbers",
        fingerprint(&sorted),
    )
}

fn insert(mut tree: &mut Tree, key: u32) {
    while let Some(node) = tree {
        tree = match key.cmp(&node.key) {
            std::cmp::Ordering::Less => &mut node.lower,
            std::cmp::Ordering::Equal => return,
            std::cmp::Ordering::Greater => &mut node.higher,
        };
    }
    *tree = Some(Box::new(Node { key, lower: None, higher: None }));
}

fn visit(tree: &Tree, keys: &mut Vec<u32>) {
    if let Some(node) = tree {
        visit(&node.lower, keys);
        keys.push(node.key);
        visit(&node.higher, keys);
    }
}
