//! Output and offsets, together or not at all.
//!
//! In: windows that closed, late and refused originals, what each partition commits. Out: their records, visible to
//! `read_committed` readers together with the offsets. After any error the producer is not used again.

use std::collections::HashMap;

use clap::ValueEnum;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::ConsumerGroupMetadata,
    message::{Header, OwnedHeaders},
};
use tidewatch_schemas::headers;
use tidewatch_service_kit::kafka::{
    Group, KafkaConfig, Original, Outgoing, PlainSender, TransactionError, Transactor,
};

use crate::{commit::Committed, encode::Output, error::SessionError};

/// What a reader of the output may see after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Delivery {
    /// Each record once: output and offsets are one transaction
    #[default]
    ExactlyOnce,
    /// Some records twice, each with the identity of its first copy: no transactions
    AtLeastOnce,
}

/// What one transaction holds.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// By partition.
    pub(crate) windows: Vec<(i32, Output)>,
    /// Late and refused records as they came, and ticks.
    pub(crate) originals: Vec<Original>,
    /// By input topic and partition.
    pub(crate) offsets: Vec<(String, i32, Committed)>,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.offsets.is_empty() && self.originals.is_empty()
    }
}

enum Outlet {
    Transactions(Transactor),
    Plain(PlainSender),
}

/// The output of one session.
pub(crate) struct Emitter {
    outlet: Outlet,
    kafka: KafkaConfig,
    /// Topics by tier.
    topics: HashMap<i64, String>,
    content: OwnedHeaders,
}

impl Emitter {
    pub(crate) fn open(
        kafka: &KafkaConfig,
        instance: &str,
        delivery: Delivery,
    ) -> Result<Self, SessionError> {
        let outlet = match delivery {
            Delivery::ExactlyOnce => {
                let id = kafka.group(&format!("stream-processor.{instance}"));
                Outlet::Transactions(Transactor::open(kafka, &id)?)
            }
            Delivery::AtLeastOnce => Outlet::Plain(PlainSender::open(kafka)?),
        };
        let content = Header { key: headers::CONTENT_TYPE, value: Some(headers::CONTENT_TYPE_AVRO) };
        let content = OwnedHeaders::new().insert(content);
        Ok(Self { outlet, kafka: kafka.clone(), topics: HashMap::new(), content })
    }

    /// Keeps the idle client's events moving.
    pub(crate) fn serve(&self) {
        match &self.outlet {
            Outlet::Transactions(transactor) => transactor.serve(),
            Outlet::Plain(sender) => sender.serve(),
        }
    }

    /// Everything of the batch or nothing. `member` is the membership as it was when the batch was cut.
    pub(crate) fn commit(
        &mut self,
        group: &Group,
        member: &ConsumerGroupMetadata,
        batch: &Batch,
    ) -> Result<(), SessionError> {
        let mut offsets = TopicPartitionList::with_capacity(batch.offsets.len());
        for (topic, partition, committed) in &batch.offsets {
            let mut element = offsets.add_partition(topic, *partition);
            element
                .set_offset(Offset::Offset(committed.high_water))
                .map_err(SessionError::kafka("set offset"))?;
            element.set_metadata(committed.metadata());
        }
        if let Outlet::Transactions(transactor) = &self.outlet {
            transactor.begin()?;
        }
        for (partition, output) in &batch.windows {
            self.send_windows(*partition, output)?;
        }
        for original in &batch.originals {
            self.send(original.outgoing())?;
        }
        let done = match &self.outlet {
            Outlet::Transactions(transactor) => transactor.commit_for(member, &offsets),
            Outlet::Plain(sender) => sender.commit(group, &offsets),
        };
        done.map_err(SessionError::from)
    }

    /// To the partition they came from; the timestamp is the log's, so that a record made twice is the same record.
    fn send_windows(&mut self, partition: i32, output: &Output) -> Result<(), SessionError> {
        for record in output.records() {
            let topics = self.kafka.topics();
            self.topics.entry(record.window_ms).or_insert_with(|| topics.window(record.window_ms));
            self.send(Outgoing {
                topic: &self.topics[&record.window_ms],
                partition,
                key: Some(output.key(record)),
                payload: output.payload(record),
                headers: self.content.clone(),
                timestamp: Some(record.timestamp),
            })?;
        }
        Ok(())
    }

    fn send(&self, outgoing: Outgoing<'_>) -> Result<(), TransactionError> {
        match &self.outlet {
            Outlet::Transactions(transactor) => transactor.send(outgoing),
            Outlet::Plain(sender) => sender.send(outgoing),
        }
    }
}
