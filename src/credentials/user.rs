//! Huawei's `X-Auth-Token`, for the name and the password of a user.
//!
//! <https://support.huaweicloud.com/intl/en-us/api-iam/iam_30_0001.html>

use std::sync::Arc;

use dbtask_clouds::cloud::{Cloud, Credentials};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::exchange::{Session, SessionError, ending, judge, post, tree};
use super::{Outside, well_formed};
use crate::credentials::guard::Key;

/// A user of IAM, and the project that the token is for.
#[derive(Clone)]
pub(super) struct User {
    pub(super) endpoint: String,
    pub(super) name: String,
    pub(super) password: SecretString,
    /// The account that the user belongs to.
    pub(super) domain: String,
    /// The project's name, which is the region's unless somebody has made further ones.
    pub(super) project: String,
}

impl PartialEq for User {
    fn eq(&self, other: &Self) -> bool {
        fn exposed(it: &User) -> [&str; 5] {
            let User { endpoint, name, password, domain, project } = it;
            [endpoint, name, password.expose_secret(), domain, project]
        }
        exposed(self) == exposed(other)
    }
}

impl User {
    pub(super) async fn ask(&self, outside: &Outside<'_>) -> Result<Session, SessionError> {
        let id = format!("{}/{}", self.domain, self.name);
        let key = Key::new(Cloud::Huawei, &id, self.password.expose_secret());
        let turn = outside.guards.turn(&key).await?;
        let asked = self.token(outside).await;
        judge(turn, &asked);
        asked
    }

    async fn token(&self, outside: &Outside<'_>) -> Result<Session, SessionError> {
        let user = json!({
            "name": self.name,
            "password": self.password.expose_secret(),
            "domain": {"name": self.domain},
        });
        let body = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": self.project}},
        }});
        let uri = format!("{}/v3/auth/tokens?nocatalog=true", self.endpoint);
        let headers = [("content-type", "application/json")];
        let (body, secrets) = (body.to_string(), [self.password.expose_secret()]);
        let answer = post(outside, &uri, &headers, body, &secrets).await?;
        let tree = tree(Cloud::Huawei, &answer)?;
        let ends = ending(tree.get("token").unwrap_or(&Value::Null), &["expires_at"])?;
        let token = answer.headers().get("x-subject-token").and_then(|it| it.to_str().ok());
        let token = token.filter(|token| well_formed(token).is_ok());
        let token = token
            .ok_or_else(|| SessionError::Answer("the answer has no X-Subject-Token".to_owned()))?;
        Ok(Session { credentials: Arc::new(Credentials::Token(token.into())), ends })
    }
}
