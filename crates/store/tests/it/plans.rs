//! Lists stay quick however long they are: every page is read along an index, in both databases.
//!
//! The databases are asked how they would do it. *Ordered* means that the rows come in the order of the list, so that a
//! page ends after its rows; *sought* means that, beside that, the first row is found in an index by what is asked for.

use veriboot_store::audit::NewEntry;
use veriboot_store::vms::VmRow;
use veriboot_store::{
    Backend, Param, Row, StoreError, Tx, Value, alerts, assessments, audit, deliveries, events, incidents,
    inventory, reappraisals, targets, vms,
};
use veriboot_wire::{
    AlertQuery, AlertSort, AlertState, AssessmentQuery, AssessmentSort, AssessmentStatus, AuditQuery,
    DeliveryQuery, DeliveryState, EventQuery, IncidentQuery, IncidentSort, IncidentState, InventoryQuery,
    InventorySort, Scope, ScopeKind, Severity, VmQuery, VmSort, VmStatus,
};

use crate::harness::{at, on_both, target, vm};

/// Notes how the last statement that it passed on would be done.
struct Planner<'t> {
    inner: &'t mut dyn Tx,
    plan: String,
}

impl Tx for Planner<'_> {
    fn backend(&self) -> Backend {
        self.inner.backend()
    }

    fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        self.inner.execute(sql, params)
    }

    fn query(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        let explain = match self.backend() {
            Backend::Sqlite => "EXPLAIN QUERY PLAN",
            Backend::Postgres => "EXPLAIN (COSTS OFF)",
        };
        self.plan.clear();
        for row in self.inner.query(&format!("{explain} {sql}"), params)? {
            if let Some(Value::Text(line)) = row.0.last() {
                self.plan.push_str(line);
                self.plan.push('\n');
            }
        }
        self.inner.query(sql, params)
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Needs {
    Ordered,
    Sought,
}
use Needs::{Ordered, Sought};

/// What is wrong with a plan.
fn flaw(backend: Backend, needs: Needs, plan: &str) -> Option<&'static str> {
    let lines: Vec<&str> = plan.lines().map(str::trim).collect();
    match backend {
        Backend::Sqlite => {
            // Rows that are equal but for the last term are few.
            if lines.iter().any(|line| line.contains("USE TEMP B-TREE") && !line.contains("LAST TERM")) {
                return Some("sorts");
            }
            if lines.iter().any(|line| line.starts_with("SCAN ") && !line.contains(" USING ")) {
                return Some("reads a whole table");
            }
            let first = lines.first().copied().unwrap_or_default();
            (needs == Sought && !first.starts_with("SEARCH")).then_some("walks instead of seeking")
        }
        Backend::Postgres => {
            if lines.iter().any(|line| matches!(line.trim_start_matches("->  "), "Sort")) {
                return Some("sorts");
            }
            if lines.iter().any(|line| line.contains("Seq Scan")) {
                return Some("reads a whole table");
            }
            (needs == Sought && !plan.contains("Index Cond")).then_some("walks instead of seeking")
        }
    }
}

/// Holds plans against what lists need.
struct Check<'t> {
    tx: &'t mut dyn Tx,
    flaws: Vec<String>,
}

impl Check<'_> {
    fn list<T>(
        &mut self,
        name: &str,
        needs: Needs,
        list: impl Fn(&mut dyn Tx) -> Result<T, StoreError>,
    ) -> T {
        let mut planner = Planner { inner: &mut *self.tx, plan: String::new() };
        let listed = list(&mut planner).unwrap();
        let plan = planner.plan;
        if let Some(flaw) = flaw(self.tx.backend(), needs, &plan) {
            self.flaws.push(format!("{name} {flaw}:\n{plan}"));
        }
        listed
    }
}

/// PostgreSQL plans by what it knows of the rows, of which there are none here: with these it takes an index wherever one
/// will do.
fn without_choice(tx: &mut dyn Tx) -> Result<(), StoreError> {
    if tx.backend() == Backend::Postgres {
        for choice in ["seqscan", "sort", "hashjoin", "mergejoin"] {
            tx.execute(&format!("SET LOCAL enable_{choice} = off"), &[])?;
        }
    }
    Ok(())
}

macro_rules! with {
    ($query:ident { $($field:ident : $value:expr),* $(,)? }) => {
        $query { $($field: Some($value.into()),)* ..$query::default() }
    };
}

fn cursor(parts: &[&str]) -> Option<String> {
    Some(parts.join("\u{1f}").bytes().map(|byte| format!("{byte:02x}")).collect())
}

on_both! {
async fn pages_of_vms(db) {
    db.store.write(|tx| {
        // So many that they are not sorted.
        for n in 0..1001 {
            vms::insert(tx, &vm("g", &format!("p{n:04}")))?;
        }
        without_choice(tx)?;
        let mut check = Check { tx, flaws: Vec::new() };
        let queries = [
            ("all", Ordered, VmQuery::default()),
            ("group", Sought, with!(VmQuery { group: "g" })),
            ("scale set", Sought, with!(VmQuery { scale_set: "s" })),
            ("scale set of a group", Sought, with!(VmQuery { group: "g", scale_set: "s" })),
            ("image", Sought, with!(VmQuery { image: "i" })),
            ("status", Sought, with!(VmQuery { status: VmStatus::Stale })),
            ("status of a group", Sought, with!(VmQuery { group: "g", status: VmStatus::Stale })),
            ("prefix", Ordered, with!(VmQuery { name_prefix: "p" })),
            ("prefix in a group", Sought, with!(VmQuery { group: "g", name_prefix: "p" })),
        ];
        for (name, needs, query) in queries {
            check.list(name, needs, |tx| vms::list(tx, &query));
            let next = VmQuery { cursor: cursor(&["vms", "g", "n"]), ..query };
            check.list(&format!("{name}, next"), Sought, |tx| vms::list(tx, &next));
        }
        let queries = [
            ("all", Ordered, VmQuery::default()),
            ("group", Sought, with!(VmQuery { group: "g" })),
            ("image", Sought, with!(VmQuery { image: "i" })),
            ("status", Sought, with!(VmQuery { status: VmStatus::Stale })),
            ("prefix", Ordered, with!(VmQuery { name_prefix: "p" })),
        ];
        for (name, needs, query) in queries {
            let query = VmQuery { sort: Some(VmSort::Enrolled), ..query };
            check.list(&format!("{name} by age"), needs, |tx| vms::list(tx, &query));
            let next = VmQuery { cursor: cursor(&["vms-enrolled", "v"]), ..query };
            check.list(&format!("{name} by age, next"), Sought, |tx| vms::list(tx, &next));
        }
        let scope = |kind, id: &str| Scope { kind, group: "g".into(), id: id.into() };
        for (name, scope) in [
            ("ids of a group", scope(ScopeKind::Group, "")),
            ("ids of an image", scope(ScopeKind::Image, "i")),
        ] {
            check.list(name, Sought, |tx| reappraisals::ids_after(tx, &scope, "v", 10));
        }
        // Neither those of an image nor those of a scale set, which are few and sorted, are looked for in all of their group.
        for scope in [scope(ScopeKind::Image, "i"), scope(ScopeKind::ScaleSet, "s")] {
            let mut planner = Planner { inner: &mut *check.tx, plan: String::new() };
            reappraisals::ids_after(&mut planner, &scope, "v", 10)?;
            assert!(!planner.plan.contains("vms_by_group"), "{}", planner.plan);
        }
        assert!(check.flaws.is_empty(), "{}", check.flaws.join("\n"));
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn pages_of_assessments(db) {
    db.store.write(|tx| {
        // The only scale set of its name.
        vms::insert(tx, &VmRow { scale_set: Some("s".into()), ..vm("g", "web-0") })?;
        without_choice(tx)?;
        let mut check = Check { tx, flaws: Vec::new() };
        let unhealthy = AssessmentStatus::Unhealthy;
        let queries = [
            ("all", Ordered, AssessmentQuery::default()),
            ("group", Sought, with!(AssessmentQuery { group: "g" })),
            ("scale set", Sought, with!(AssessmentQuery { scale_set: "s" })),
            ("scale set of a group", Sought, with!(AssessmentQuery { group: "g", scale_set: "s" })),
            ("check", Ordered, with!(AssessmentQuery { check: "c" })),
            ("check and status", Sought, with!(AssessmentQuery { check: "c", status: unhealthy })),
            ("check that is healthy", Sought, with!(AssessmentQuery { check: "c", status: AssessmentStatus::Healthy })),
            ("check in a group", Sought, with!(AssessmentQuery { check: "c", group: "g" })),
            ("check and status in a group", Sought, with!(AssessmentQuery { check: "c", group: "g", status: unhealthy })),
            ("check of a scale set", Sought, with!(AssessmentQuery { check: "c", group: "g", scale_set: "s" })),
            ("unhealthy", Ordered, with!(AssessmentQuery { status: unhealthy })),
            ("healthy", Ordered, with!(AssessmentQuery { status: AssessmentStatus::Healthy })),
            ("not applicable", Ordered, with!(AssessmentQuery { status: AssessmentStatus::NotApplicable })),
            ("unhealthy in a group", Sought, with!(AssessmentQuery { status: unhealthy, group: "g" })),
            ("severity", Ordered, with!(AssessmentQuery { severity: Severity::High })),
            ("changed since", Ordered, with!(AssessmentQuery { changed_since: at(1) })),
        ];
        for (name, needs, query) in queries {
            check.list(name, needs, |tx| assessments::list(tx, &query, None));
            let next = AssessmentQuery { cursor: cursor(&["assessments", "g", "n", "r", "c"]), ..query };
            check.list(&format!("{name}, next"), Sought, |tx| assessments::list(tx, &next, None));
        }
        let queries = [
            ("all", Ordered, AssessmentQuery::default()),
            ("group", Sought, with!(AssessmentQuery { group: "g" })),
            ("check", Ordered, with!(AssessmentQuery { check: "c" })),
            ("check in a group", Sought, with!(AssessmentQuery { check: "c", group: "g" })),
            ("unhealthy", Ordered, with!(AssessmentQuery { status: unhealthy })),
            ("healthy", Ordered, with!(AssessmentQuery { status: AssessmentStatus::Healthy })),
            ("severity", Ordered, with!(AssessmentQuery { severity: Severity::High })),
            ("changed since", Sought, with!(AssessmentQuery { changed_since: at(1) })),
            ("changed since in a group", Sought, with!(AssessmentQuery { changed_since: at(1), group: "g" })),
        ];
        for (name, needs, query) in queries {
            let query = AssessmentQuery { sort: Some(AssessmentSort::Changed), ..query };
            check.list(&format!("{name} by change"), needs, |tx| assessments::list(tx, &query, None));
            let next = AssessmentQuery { cursor: cursor(&["assessments-changed", "1", "r", "c"]), ..query };
            check.list(&format!("{name} by change, next"), Sought, |tx| assessments::list(tx, &next, None));
        }
        check.list("of a VM", Sought, |tx| assessments::of_resource(tx, "r"));
        check.list("sets", Ordered, |tx| assessments::sets_page(tx, None, None, None));
        check.list("sets of a group", Sought, |tx| assessments::sets_page(tx, Some("g"), None, None));
        assert!(check.flaws.is_empty(), "{}", check.flaws.join("\n"));
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn pages_of_the_inventory(db) {
    db.store.write(|tx| {
        without_choice(tx)?;
        let mut check = Check { tx, flaws: Vec::new() };
        let queries = [
            ("all", Ordered, InventoryQuery::default()),
            ("with what is gone", Ordered, with!(InventoryQuery { all: true })),
            ("gone", Ordered, with!(InventoryQuery { gone: true })),
            ("source", Sought, with!(InventoryQuery { source: "s" })),
            ("group", Sought, with!(InventoryQuery { group: "g" })),
            ("scale set", Sought, with!(InventoryQuery { scale_set: "s" })),
            ("platform", Ordered, with!(InventoryQuery { platform: "p" })),
            ("prefix", Ordered, with!(InventoryQuery { name_prefix: "p" })),
            ("prefix in a group", Sought, with!(InventoryQuery { group: "g", name_prefix: "p" })),
            ("matched", Ordered, with!(InventoryQuery { matched: true })),
            ("unmatched", Ordered, with!(InventoryQuery { matched: false })),
            ("disagreeing", Ordered, with!(InventoryQuery { disagrees: true })),
        ];
        for (name, needs, query) in queries {
            check.list(name, needs, |tx| inventory::list(tx, &query));
            let next = InventoryQuery { cursor: cursor(&["inventory", "g", "n", "i"]), ..query };
            check.list(&format!("{name}, next"), Sought, |tx| inventory::list(tx, &next));
        }
        for (name, needs, query) in [
            ("all", Ordered, InventoryQuery::default()),
            ("source", Sought, with!(InventoryQuery { source: "s" })),
            ("group", Sought, with!(InventoryQuery { group: "g" })),
        ] {
            let query = InventoryQuery { sort: Some(InventorySort::Changed), ..query };
            check.list(&format!("{name} by change"), needs, |tx| inventory::list(tx, &query));
            let next = InventoryQuery { cursor: cursor(&["inventory-changed", "1", "i"]), ..query };
            check.list(&format!("{name} by change, next"), Sought, |tx| inventory::list(tx, &next));
        }
        check.list("unlisted", Ordered, |tx| inventory::unlisted(tx, None, None, None));
        check.list("unlisted in a group", Sought, |tx| inventory::unlisted(tx, Some("g"), None, None));
        check.list("unmatched, for the sweep", Ordered, |tx| inventory::unmatched(tx, "i", 100));
        assert!(check.flaws.is_empty(), "{}", check.flaws.join("\n"));
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn pages_of_alerts(db) {
    db.store.write(|tx| {
        without_choice(tx)?;
        let mut check = Check { tx, flaws: Vec::new() };
        // What one VM, scale set, incident or rule has is found by it, and sorted.
        check.list("VM", Sought, |tx| alerts::list(tx, &with!(AlertQuery { vm: "v" })));
        let queries = [
            ("all", AlertQuery::default()),
            ("state", with!(AlertQuery { state: AlertState::Active })),
            ("kind", with!(AlertQuery { kind: "k" })),
            ("group", with!(AlertQuery { group: "g" })),
            ("open", with!(AlertQuery { open: true })),
            ("open in a group", with!(AlertQuery { open: true, group: "g" })),
            ("severity", with!(AlertQuery { severity: Severity::High })),
            ("since", with!(AlertQuery { since: at(1) })),
        ];
        for (n, (name, query)) in queries.into_iter().enumerate() {
            for sort in [AlertSort::Newest, AlertSort::Severity, AlertSort::Count] {
                let tag = match sort {
                    AlertSort::Newest => "alerts",
                    AlertSort::Severity => "alerts-by-severity",
                    AlertSort::Count if n < 4 => "alerts-by-count",
                    // What narrows the list is read, and sorted.
                    AlertSort::Count => continue,
                };
                let query = AlertQuery { sort: Some(sort), ..query.clone() };
                check.list(&format!("{name} by {sort:?}"), Ordered, |tx| alerts::list(tx, &query));
                let next = AlertQuery { cursor: cursor(&[tag, "1", "1", "a"]), ..query };
                check.list(&format!("{name} by {sort:?}, next"), Sought, |tx| alerts::list(tx, &next));
            }
        }
        let queries = [
            ("incidents", Ordered, IncidentQuery::default()),
            ("open incidents", Ordered, with!(IncidentQuery { state: IncidentState::Open })),
            ("incidents of a group", Ordered, with!(IncidentQuery { group: "g" })),
        ];
        for (name, needs, query) in queries {
            check.list(name, needs, |tx| incidents::list(tx, &query));
            let query = IncidentQuery { sort: Some(IncidentSort::Active), ..query };
            check.list(&format!("{name} by activity"), needs, |tx| incidents::list(tx, &query));
        }
        assert!(check.flaws.is_empty(), "{}", check.flaws.join("\n"));
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn pages_of_the_audit_log(db) {
    db.store.write(|tx| {
        for (n, action) in ["alert.resolve", "alert.dismiss", "baseline.accept"].into_iter().enumerate() {
            let detail = serde_json::Value::Null;
            let at = at(n as i64);
            audit::append(tx, &NewEntry { at, actor: "ann", action, target: "a", detail: &detail })?;
        }
        without_choice(tx)?;
        let mut check = Check { tx, flaws: Vec::new() };
        let queries = [
            ("all", Ordered, AuditQuery::default()),
            ("actor", Sought, with!(AuditQuery { actor: "ann" })),
            ("action", Sought, with!(AuditQuery { action: "alert.resolve" })),
            ("family of actions", Sought, with!(AuditQuery { action: "alert.*" })),
            ("family that there is not", Sought, with!(AuditQuery { action: "nosuch.*" })),
            ("target", Sought, with!(AuditQuery { target: "a" })),
            ("actor and time", Sought, with!(AuditQuery { actor: "ann", from: at(1) })),
        ];
        for (name, needs, query) in queries {
            check.list(name, needs, |tx| audit::list(tx, &query));
            let next = AuditQuery { cursor: cursor(&["audit", "7"]), ..query };
            check.list(&format!("{name}, next"), Sought, |tx| audit::list(tx, &next));
        }
        let queries = [
            ("from", with!(AuditQuery { from: at(1) })),
            ("until", with!(AuditQuery { until: at(1) })),
            ("from and until", with!(AuditQuery { from: at(1), until: at(2) })),
            ("family and time", with!(AuditQuery { action: "alert.*", from: at(1) })),
            ("family that there is not, and time", with!(AuditQuery { action: "nosuch.*", from: at(0) })),
        ];
        for (name, query) in queries {
            check.list(name, Sought, |tx| audit::list(tx, &query));
            let next = AuditQuery { cursor: cursor(&["audit-by-time", "1", "7"]), ..query };
            check.list(&format!("{name}, next"), Sought, |tx| audit::list(tx, &next));
        }
        // However few of a long log a family is, and where there is none of it.
        for family in ["alert.*", "nosuch.*"] {
            let query = with!(AuditQuery { action: family });
            let mut planner = Planner { inner: &mut *check.tx, plan: String::new() };
            audit::list(&mut planner, &query).unwrap();
            assert!(planner.plan.contains("audit_by_action"), "{family} is looked for in all of the log:\n{}", planner.plan);
        }
        assert!(check.flaws.is_empty(), "{}", check.flaws.join("\n"));
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn pages_of_events_and_deliveries(db) {
    db.store.write(|tx| {
        without_choice(tx)?;
        let mut check = Check { tx, flaws: Vec::new() };
        check.list("events", Sought, |tx| events::list(tx, &EventQuery::default()));
        check.list("events of a VM", Sought, |tx| events::list(tx, &with!(EventQuery { vm: "v" })));
        targets::insert(check.tx, &target("hook"))?;
        let delivered = DeliveryState::Delivered;
        let queries = [
            ("all", Ordered, DeliveryQuery::default()),
            ("delivered", Ordered, with!(DeliveryQuery { state: delivered })),
            ("waiting", Ordered, with!(DeliveryQuery { state: DeliveryState::Waiting })),
            ("dead", Ordered, with!(DeliveryQuery { state: DeliveryState::Dead })),
            ("target", Sought, with!(DeliveryQuery { target: "hook" })),
            ("delivered to a target", Sought, with!(DeliveryQuery { target: "hook", state: delivered })),
            ("waiting for a target", Sought, with!(DeliveryQuery { target: "hook", state: DeliveryState::Waiting })),
            ("dead of a target", Ordered, with!(DeliveryQuery { target: "hook", state: DeliveryState::Dead })),
        ];
        for (name, needs, query) in queries {
            check.list(&format!("deliveries, {name}"), needs, |tx| deliveries::list(tx, &query));
            let next = DeliveryQuery { cursor: cursor(&["deliveries", "7", "hook"]), ..query };
            check.list(&format!("deliveries, {name}, next"), Sought, |tx| deliveries::list(tx, &next));
        }
        assert!(check.flaws.is_empty(), "{}", check.flaws.join("\n"));
        Ok(())
    }).await.unwrap();
}
}
