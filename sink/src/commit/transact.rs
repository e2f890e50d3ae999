//! One transaction through the breaker, while the partitions are still ours.

use tidewatch_store::{Error, History, hot::writer::Refresh};

use super::{GivenUp, SharedOwned};
use crate::{
    record::Item,
    write::{WriteError, Writer},
};

/// The outer result is about the assignment, the inner about PostgreSQL.
pub(super) async fn transact(
    history: &History,
    writer: &mut Writer,
    owned: &SharedOwned,
    generation: u64,
    items: &[Item],
) -> Result<Result<Refresh, WriteError>, GivenUp> {
    let mut owned = owned.lock().await;
    if owned.generation != generation {
        return Err(GivenUp::Superseded);
    }
    let mut outcome = Ok(Refresh::default());
    let call = async {
        let mut conn = history.pool().acquire().await?;
        outcome = writer.write(&mut conn, items, &mut owned.positions).await;
        // for the breaker only what PostgreSQL did counts; a lost answer must not go back into the pool as it is
        match &mut outcome {
            Err(WriteError::Store(error)) if error.is_outage() => {
                let error = std::mem::replace(error, Error::Open);
                conn.close_on_drop();
                Err(error)
            }
            _ => Ok(()),
        }
    };
    let guarded = history.guard(call).await;
    Ok(guarded.map_err(WriteError::Store).and(outcome))
}
