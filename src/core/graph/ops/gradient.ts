/**
 * Reverse-mode differentiation. It walks the applications (uses of ops) from the loss back to the inputs;
 * each application turns the gradients of its outputs into gradients of its inputs. The result is an
 * ordinary graph, compiled and profiled like any other. Only first derivatives are right: a second
 * derivative would treat intermediate results that an op saved for its gradient as constants.
 */

import { formatShape, sameShape } from '../shape.ts'
import { type Application, constant, isFloat, type Tensor, withOrigin } from '../tensor.ts'
import { add } from './elementwise.ts'
import { zeros } from './shape.ts'

/**
 * Gradients of a scalar `loss` with respect to each of `wrt`, in the shapes of `wrt`. A tensor that
 * the loss does not depend on has a gradient of zeros.
 */
export function gradient(loss: Tensor, wrt: readonly Tensor[]): Tensor[] {
  if (loss.shape.length !== 0)
    throw new Error(
      `gradient of a tensor of shape ${formatShape(loss.shape)} (expected a scalar: take its mean or sum first)`,
    )
  const gradients = new Map<Tensor, Tensor>([[loss, constant(1, loss.dtype)]])
  for (const application of applicationsBetween(new Set(wrt), loss)) {
    const outputGradients = application.outputs.map((output) => gradients.get(output))
    if (outputGradients.every((g) => g === undefined)) continue
    withOrigin({ op: `${application.op}'`, layer: application.layer }, () => {
      const inputGradients = application.gradient(...outputGradients)
      application.inputs.forEach((tensor, i) => {
        const contribution = inputGradients[i]
        if (!contribution || !isFloat(tensor.dtype)) return
        if (!sameShape(contribution.shape, tensor.shape))
          throw new Error(
            `internal: gradient of ${application.op} has shape ${formatShape(contribution.shape)}, its input ${formatShape(tensor.shape)}`,
          )
        const sum = gradients.get(tensor)
        gradients.set(tensor, sum ? add(sum, contribution) : contribution)
      })
    })
  }
  return wrt.map((tensor) => gradients.get(tensor) ?? zeros(tensor.shape, tensor))
}

/**
 * Applications on a path from `wrt` to the loss, in reverse order of creation. So if an op computes while rows travel
 * to other ranks, its gradient computes while the gradients of these rows travel back.
 */
function applicationsBetween(wrt: ReadonlySet<Tensor>, loss: Tensor): Application[] {
  const onPath = new Map<Application, boolean>()
  const visit = (tensor: Tensor): boolean => {
    const application = tensor.application
    if (!application) return wrt.has(tensor)
    let known = onPath.get(application)
    if (known === undefined) {
      known = false
      for (const source of application.inputs) if (visit(source)) known = true
      known ||= application.outputs.some((output) => wrt.has(output))
      onPath.set(application, known)
    }
    return known || wrt.has(tensor)
  }
  visit(loss)
  const between = [...onPath].filter(([, known]) => known).map(([application]) => application)
  return between.sort((a, b) => b.serial - a.serial)
}
