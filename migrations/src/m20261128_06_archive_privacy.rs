//! Who does not want to be remembered, and the way to what they have said.

use sea_orm_migration::prelude::*;

use crate::run;

#[derive(DeriveMigrationName)]
pub struct Migration;

/// `cleared` once there is nothing of them any more.
const FORGOTTEN: &str = "CREATE TABLE forgotten (
        network TEXT NOT NULL,
        account TEXT NOT NULL,
        since BIGINT NOT NULL,
        cleared BOOLEAN NOT NULL,
        PRIMARY KEY (network, account)
    )";
/// Small letters of ASCII alone, on both engines.
const SQLITE: [&str; 2] =
    [FORGOTTEN, "CREATE INDEX messages_of_account ON messages (lower(account)) WHERE account IS NOT NULL"];
const POSTGRES: [&str; 2] = [
    FORGOTTEN,
    "CREATE INDEX messages_of_account ON messages (lower(account COLLATE \"C\")) WHERE account IS NOT NULL",
];

const BACK: [&str; 2] = ["DROP INDEX messages_of_account", "DROP TABLE forgotten"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, &SQLITE, &POSTGRES).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, &BACK, &BACK).await
    }
}
