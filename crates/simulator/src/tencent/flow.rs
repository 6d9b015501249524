//! Flows, which are asked for by their ids.

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use super::{self as tencent, Fault};
use crate::World;

/// How a service tells of its flows.
struct Service {
    /// The parameter with the id.
    parameter: &'static str,
    /// The code for an id that it does not know.
    unknown: &'static str,
}

const FLOW: Service = Service { parameter: "FlowId", unknown: "InvalidParameter.FlowNotFound" };

pub(super) fn of_cynosdb(request: &Request<Bytes>, world: &World<'_>) -> Result<Value, Fault> {
    status(request, world, &Service { unknown: "FailedOperation.FlowNotFoundError", ..FLOW })
}

/// As of DCDB, `MariaDB` and TDSQL boundless.
pub(super) fn of_tdsql(request: &Request<Bytes>, world: &World<'_>) -> Result<Value, Fault> {
    status(request, world, &FLOW)
}

pub(super) fn of_sqlserver(request: &Request<Bytes>, world: &World<'_>) -> Result<Value, Fault> {
    status(request, world, &Service { unknown: "ResourceNotFound.InstanceNotFound", ..FLOW })
}

/// This service tells when a flow began and ended, too, and takes its id as a text.
pub(super) fn of_mongodb(request: &Request<Bytes>, world: &World<'_>) -> Result<Value, Fault> {
    let service =
        Service { parameter: "AsyncRequestId", unknown: "OperationDenied.ResourceNotFundError" };
    status(request, world, &service)
}

fn status(request: &Request<Bytes>, world: &World<'_>, service: &Service) -> Result<Value, Fault> {
    let &Service { parameter, unknown } = service;
    let is_mongodb = parameter == "AsyncRequestId";
    let parameters = tencent::parameters(request, &[parameter])?;
    let id: Option<String> = if is_mongodb {
        tencent::parameter(&parameters, parameter)?
    } else {
        tencent::parameter::<i64>(&parameters, parameter)?.map(|id| id.to_string())
    };
    let id = id.ok_or_else(|| Fault::missing(parameter))?;
    let found = world.tasks.iter().find(|task| *task.id == *id);
    let task = found.ok_or_else(|| Fault::new(unknown, "flow is not found."))?;
    let status = tencent::id_value(&task.vendor_status);
    if !is_mongodb {
        return Ok(json!({ "Status": status }));
    }
    Ok(json!({
        "Status": status,
        "StartTime": tencent::time_or_empty(task.started, world),
        "EndTime": tencent::time_or_empty(task.ended, world),
    }))
}
