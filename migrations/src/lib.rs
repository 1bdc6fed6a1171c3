//! How the bot's memory got its shape: one file a step, forward and back, for SQLite and PostgreSQL.
//!
//! To add one: write `src/<date>_<what>.rs`, and add a line to the list. A step that has landed is never changed: what it did
//! is done in somebody's database. A test in the crate `store` walks from the first to the last with data in the tables.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

mod m20261128_01_archive;
mod m20261128_02_people;
mod m20261128_03_presence;
mod m20261128_04_settings;
mod m20261128_05_plugin_data;
mod m20261128_06_archive_privacy;

/// The steps, in order.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261128_01_archive::Migration),
            Box::new(m20261128_02_people::Migration),
            Box::new(m20261128_03_presence::Migration),
            Box::new(m20261128_04_settings::Migration),
            Box::new(m20261128_05_plugin_data::Migration),
            Box::new(m20261128_06_archive_privacy::Migration),
        ]
    }

    fn migration_table_name() -> DynIden {
        "migrations".into_iden()
    }
}

/// The names of all steps, in order.
pub fn names() -> Vec<String> {
    Migrator::migrations().iter().map(|step| step.name().to_owned()).collect()
}

/// Runs statements one after the other: what both engines understand, or the one that is for this engine.
async fn run(manager: &SchemaManager<'_>, sqlite: &[&str], postgres: &[&str]) -> Result<(), DbErr> {
    let statements = match manager.get_database_backend() {
        DbBackend::Postgres => postgres,
        _ => sqlite,
    };
    for statement in statements {
        manager.get_connection().execute_unprepared(statement).await?;
    }
    Ok(())
}
