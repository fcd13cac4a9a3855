//! docs/baselines.md, run as it stands (page/mod.rs).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

#[path = "../../service/tests/agent_support/mod.rs"]
mod agent_support;
mod page;

use agent_support::World;
use agent_support::operator::Operator;
use page::Stage;
use veriboot_store::api_tokens::Role;

/// The only open proposal.
fn proposal(operator: &Operator) -> String {
    let open = operator.get("/v1/proposals?state=open");
    let open = open["items"].as_array().unwrap();
    assert_eq!(open.len(), 1, "{open:#?}");
    open[0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn the_page_is_true() {
    let world = World::sqlite();
    let operator = Operator::with_role(&world, "ann", Role::Admin);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("initrd.img"), b"a newer initrd, made by a pipeline").unwrap();
    let join_token = world.join_token(Some("web"), 3);
    let mut stage = Stage {
        world: &world,
        operator: &operator,
        guests: Default::default(),
        join_token: Box::new(move |_| join_token.clone()),
        words: vec![("PROPOSAL", Box::new(proposal))],
        folder,
    };
    let own = |_: &mut Stage<'_>, word: &str, _: &str| panic!("no direction {word:?}");
    let commands = stage.play(include_str!("../../../docs/baselines.md"), own);
    assert!(commands > 30, "the page has {commands} commands only");
}
