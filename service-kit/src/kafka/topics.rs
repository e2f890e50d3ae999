//! Making the topics, and telling whether they are as they should be.

use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    error::{KafkaError, RDKafkaErrorCode},
};
use tidewatch_schemas::TopicSpec;

use super::{Context, KafkaConfig, REQUEST_TIMEOUT};

/// Why topics could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    #[error("reach kafka: {0}")]
    Kafka(#[from] KafkaError),
    #[error("create topic {topic}: {code}")]
    Refused { topic: String, code: RDKafkaErrorCode },
}

/// What is there of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicState {
    Missing,
    /// There, with so many partitions.
    Partitions(i32),
}

/// Creates what is missing; returns the names it made. What is there already is left as it is.
pub async fn create_topics(
    config: &KafkaConfig,
    specs: &[TopicSpec],
    replication: i32,
) -> Result<Vec<String>, CreateError> {
    let admin: AdminClient<Context> = config.client().create_with_context(Context)?;
    let settings: Vec<_> = specs.iter().map(TopicSpec::config).collect();
    let topics: Vec<_> = specs
        .iter()
        .zip(&settings)
        .map(|(spec, settings)| {
            let topic = NewTopic::new(&spec.name, spec.partitions, TopicReplication::Fixed(replication));
            settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
        })
        .collect();
    let options =
        AdminOptions::new().operation_timeout(Some(REQUEST_TIMEOUT)).request_timeout(Some(REQUEST_TIMEOUT));
    let mut made = Vec::new();
    for result in admin.create_topics(&topics, &options).await? {
        match result {
            Ok(name) => made.push(name),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(CreateError::Refused { topic, code }),
        }
    }
    Ok(made)
}

/// The state of each topic, in the order asked. Blocks for a metadata request.
pub fn check_topics(config: &KafkaConfig, specs: &[TopicSpec]) -> Result<Vec<TopicState>, KafkaError> {
    let admin: AdminClient<Context> = config.client().create_with_context(Context)?;
    let metadata = admin.inner().fetch_metadata(None, REQUEST_TIMEOUT)?;
    let state = |spec: &TopicSpec| {
        let found = metadata.topics().iter().find(|t| t.name() == spec.name && t.error().is_none());
        found.map_or(TopicState::Missing, |t| TopicState::Partitions(t.partitions().len() as i32))
    };
    Ok(specs.iter().map(state).collect())
}
