//! Tables that a plugin brings along: its own steps, of which a table of its own keeps account.

use std::collections::BTreeSet;
use std::fmt;

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, Statement};
use sea_orm_migration::MigratorTraitSelf;
use sea_orm_migration::prelude::*;

use crate::Engine;

/// The steps of a plugin, for the tables that begin with `<plugin>_`. Told to a database with
/// [`Store::expect`](crate::Store::expect), they are taken with the others, and missed like them.
#[derive(Clone, Copy)]
pub struct PluginSteps {
    /// The plugin's name.
    pub plugin: &'static str,
    /// The steps, in order. A step that has landed is never changed.
    pub steps: fn() -> Vec<Box<dyn MigrationTrait>>,
}

impl fmt::Debug for PluginSteps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginSteps").field("plugin", &self.plugin).finish_non_exhaustive()
    }
}

impl MigratorTraitSelf for PluginSteps {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        (self.steps)()
    }

    fn migration_table_name(&self) -> DynIden {
        self.table().into_iden()
    }
}

impl PluginSteps {
    /// Where it is written down which steps were taken.
    pub(crate) fn table(&self) -> String {
        format!("plugin_{}_migrations", self.plugin)
    }

    /// The names of its steps.
    pub(crate) fn names(&self) -> Vec<String> {
        MigratorTraitSelf::migrations(self).iter().map(|step| step.name().to_owned()).collect()
    }

    /// How a step of it is called among those of others.
    pub(crate) fn full_name(&self, step: &str) -> String {
        format!("{}/{step}", self.plugin)
    }

    /// Takes all steps, or so many back. Other tables than its own may not come or go.
    pub(crate) async fn walk(&self, on: &DatabaseTransaction, engine: Engine, back: Option<u32>) -> Result<(), DbErr> {
        let before = tables(on, engine).await?;
        match back {
            None => MigratorTraitSelf::up(self, on, None).await?,
            Some(steps) => MigratorTraitSelf::down(self, on, Some(steps)).await?,
        }
        let after = tables(on, engine).await?;
        let prefix = format!("{}_", self.plugin);
        let own = self.table();
        match before.symmetric_difference(&after).find(|table| !table.starts_with(&prefix) && **table != own) {
            None => Ok(()),
            Some(table) => Err(DbErr::Migration(format!(
                "the steps of the plugin {} touch the table {table}: its tables' names begin with {prefix}",
                self.plugin
            ))),
        }
    }
}

async fn tables(on: &impl ConnectionTrait, engine: Engine) -> Result<BTreeSet<String>, DbErr> {
    let tables = match engine {
        Engine::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
        Engine::Postgres => "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()",
    };
    let rows = on.query_all_raw(Statement::from_string(on.get_database_backend(), tables)).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}
