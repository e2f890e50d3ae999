//! Anomalies and alerts of a topic: read once, written as the sink does. Of each alert the newest state counts.

use std::collections::BTreeMap;

use tidewatch_schemas::{Alert, AlertStatus};
use tidewatch_store::Error as StoreError;

use super::{
    Error, Replay, Report,
    read::{Extent, Topic},
};
use crate::record::{Body, Item};

/// Anomalies or alerts in a transaction.
const AT_ONCE: usize = 2_000;

impl Replay<'_> {
    pub(super) async fn events(
        &mut self,
        topic: &Topic,
        extents: &[Extent],
        report: &mut Report,
    ) -> Result<(), Error> {
        let range = self.range();
        // those of a range are few: what is odd, not what is
        let mut anomalies = Vec::new();
        let mut alerts: BTreeMap<String, Item> = BTreeMap::new();
        let see = |item: Item| match &item.body {
            _ if !range.has(&item) => {}
            Body::Anomaly(_) => anomalies.push(item),
            Body::Alert(alert) => {
                let stays =
                    |known: &Item| matches!(&known.body, Body::Alert(known) if !replaces(alert, known));
                if !alerts.get(&alert.alert_id).is_some_and(stays) {
                    alerts.insert(alert.alert_id.clone(), item);
                }
            }
            _ => {}
        };
        self.read_once(topic, extents, report, see).await?;
        anomalies.extend(alerts.into_values());
        while !anomalies.is_empty() {
            let rest = anomalies.split_off(anomalies.len().min(AT_ONCE));
            self.write_events(std::mem::replace(&mut anomalies, rest), report).await?;
        }
        Ok(())
    }

    async fn write_events(&mut self, items: Vec<Item>, report: &mut Report) -> Result<(), Error> {
        let mut todo = vec![items];
        while let Some(mut items) = todo.pop() {
            match self.attempt(async |rewriter, conn| rewriter.write_events(conn, &items).await).await {
                Ok(outcome) => {
                    report.counts += outcome.counts;
                    self.tell(outcome.refresh).await;
                }
                Err(StoreError::Refused(_)) if items.len() > 1 => {
                    let right = items.split_off(items.len() / 2);
                    todo.extend([right, items]);
                }
                Err(StoreError::Refused(error)) => {
                    tracing::warn!(topic = report.topic, %error, "leave out a record that postgresql refuses");
                    report.counts.refused += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Whether a state of an alert comes after another, as PostgreSQL has it.
fn replaces(new: &Alert, old: &Alert) -> bool {
    new.updated_at > old.updated_at || (new.updated_at == old.updated_at && old.status == AlertStatus::Firing)
}
