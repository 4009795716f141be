"""JAX: jit of grad of the mean of vmap of a task that takes its inner steps by grad."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.engine.contestant import Contestant
from benchmarks.engine.task import INNER_LR, INNER_STEPS, Task, Weights

Params = dict[str, jax.Array]


def loss(params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
    hidden = jax.nn.relu(x @ params["w0"] + params["b0"])
    hidden = jax.nn.relu(hidden @ params["w1"] + params["b1"])
    logits = (hidden @ params["w2"] + params["b2"])[:, 0]
    return jnp.mean(jax.nn.softplus(logits) - y * logits)


def query_loss(
    params: Params, support_x: jax.Array, support_y: jax.Array, query_x: jax.Array, query_y: jax.Array
) -> jax.Array:
    for _ in range(INNER_STEPS):
        gradient = jax.grad(loss)(params, support_x, support_y)
        params = {name: value - INNER_LR * gradient[name] for name, value in params.items()}
    return loss(params, query_x, query_y)


def meta_loss(params: Params, *rows: jax.Array) -> jax.Array:
    return jax.vmap(query_loss, in_axes=(None, 0, 0, 0, 0))(params, *rows).mean()


def build(task: Task) -> Contestant:
    jax.config.update("jax_enable_x64", task.support_x.dtype == np.float64)
    theta = {name: jnp.asarray(value) for name, value in task.theta.items()}
    rows = [jnp.asarray(value) for value in task.rows]
    transform = jax.jit(jax.grad(meta_loss))

    def meta_gradient() -> Weights:
        return {name: np.asarray(value) for name, value in transform(theta, *rows).items()}

    return Contestant.of(lambda: jax.block_until_ready(transform(theta, *rows)), meta_gradient)
