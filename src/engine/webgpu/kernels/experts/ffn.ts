/**
 * The feed-forward networks of all experts over their rows, forward and backward: gelu(x·up)·down, or
 * (swish(x·gate) ∘ x·up)·down. The products before the activation, `inner`, are kept for the gradient. The activation is
 * applied where these products end, and its gradient where that of the activation ends: neither is a pass of its own.
 */
import type { Dispatch, Kernel, KernelCall, Operand } from '../../contract.ts'
import type { Lines } from '../products/floats.ts'
import { sumOutput } from '../products/output.ts'
import { bytesOf } from '../vectors.ts'
import { activeOutput, activeSwishOutput, geluGradientOutput, swishGradientOutput } from './activation.ts'
import { type ChooseTiles, checkSizes, expertTiles, linesAt, lowerEmpty, operandsOf, outputOf } from './call.ts'
import { planRows, Scratch } from './plan.ts'
import { type RowGradient, type RowProduct, rowGradient, rowProduct } from './products.ts'

/** Indices of the weights of a call among its inputs, and sizes. @param first Index of the rows. */
function callOf({ attributes, inputs }: KernelCall, first: number) {
  const gated = attributes.gated === 1
  const [up, gate, down] = gated ? [first + 2, first + 3, first + 4] : [first + 2, null, first + 3]
  const [x, sizes] = inputs.slice(first) as [Operand, Operand]
  const weights = inputs[up] as Operand
  const [experts = 0, width = 0, hidden = 0] = weights.shape
  checkSizes(sizes, experts)
  return { up, gate, down, weights, rows: x.shape[0] as number, experts, width, hidden }
}

function work(call: KernelCall, first: number, passes: number) {
  const { gate, rows, width, hidden } = callOf(call, first)
  const matrices = gate === null ? 2 : 3
  return { flops: 2 * passes * matrices * rows * width * hidden, bytes: bytesOf(...call.inputs, ...call.outputs) }
}

/** Activations [R, F] that live for a call only, in memory like others of that shape. */
function inScratch(scratch: Scratch, { operand: { dtype, size }, line }: Lines): Lines {
  const shape = [size / line, line]
  return linesAt(scratch.add(dtype, shape), { dtype, shape, size })
}

/**
 * Inputs rows [R, D], sizes [N + 1], up, (gate,) [N, D, F], down [N, F, D]; outputs y [R, D], inner (, innerGate)
 * [R, F]. Rows of unused slots are not written.
 */
export const expertFfnIn = (tiles: ChooseTiles): Kernel => ({
  lower(call) {
    const { up, gate, down, weights, rows, experts, width, hidden } = callOf(call, 0)
    if (rows * weights.size === 0) return lowerEmpty(call)
    const { input, output } = operandsOf(call)
    const scratch = new Scratch()
    const { rows: tile } = tiles(rows, weights.shape)
    const plan = planRows({ sizes: { input: 1 }, rows, experts, tile }, [hidden, width], scratch)
    const active = inScratch(scratch, output(1))
    const { rounds } = call
    const widen = { plan, rows: input(0), inner: width, columns: hidden, rounds }
    const product = (name: string, of: Omit<RowProduct, 'name'>) => rowProduct({ name: `experts: ${name}`, ...of })
    const inner =
      gate === null
        ? [product('gelu(x·up)', { ...widen, matrices: input(up), output: activeOutput(output(1), active) })]
        : [
            product('x·up', { ...widen, matrices: input(up), output: sumOutput({ to: output(1) }) }),
            product('swish(x·gate) ∘ x·up', {
              ...widen,
              matrices: input(gate),
              output: activeSwishOutput(output(2), output(1), active),
            }),
          ]
    const narrow = { plan, rows: active, matrices: input(down), inner: hidden, columns: width, rounds }
    return {
      scratch: scratch.all,
      dispatches: [plan.dispatch, ...inner, product('h·down', { ...narrow, output: outputOf(call, 0) })],
    }
  },

  // Counts unused rows too, because their number is known only on the device.
  work: (call) => work(call, 0, 1),

  halves: { inputs: 'all', outputs: [0, 1, 2] },
})

/**
 * Inputs dy [R, D], rows, sizes, up, (gate,) down, inner (, innerGate); outputs gradients of rows, up, (gate,) down. An
 * expert without rows has gradients of zero.
 */
export const expertFfnGradientIn = (tiles: ChooseTiles): Kernel => ({
  lower(call) {
    const { up, gate, down, weights, rows, experts, width, hidden } = callOf(call, 1)
    if (rows * weights.size === 0) return lowerEmpty(call)
    const { input, output } = operandsOf(call)
    const [dy, x, inner, innerGate] = [input(0), input(1), input(down + 1), down + 2]
    const scratch = new Scratch()
    const { rows: tile, gradient } = tiles(rows, weights.shape)
    const { gradient: gradientDown } = tiles(rows, [experts, hidden, width])
    const plan = planRows({ sizes: { input: 2 }, rows, experts, tile }, [hidden, width], scratch)
    const [active, dInner] = [inScratch(scratch, inner), inScratch(scratch, inner)]
    const dInnerGate = gate === null ? null : inScratch(scratch, inner)
    const { rounds } = call
    const product = (name: string, of: Omit<RowProduct, 'name' | 'plan' | 'transposed'>) =>
      rowProduct({ name: `experts: ${name}`, plan, transposed: true, rounds, ...of })
    const ofMatrix = (name: string, of: Omit<RowGradient, 'name' | 'plan' | 'tile'>, tile = gradient) =>
      rowGradient({ name: `experts: ${name}`, plan, tile, rounds, ...of })
    const narrow = { inner: hidden, columns: width }
    const dispatches: Dispatch[] = [
      plan.dispatch,
      product('dh and dinner', {
        rows: dy,
        matrices: input(down),
        inner: width,
        columns: hidden,
        output: dInnerGate
          ? swishGradientOutput({ inner, innerGate: input(innerGate), active, dInner, dInnerGate })
          : geluGradientOutput({ inner, active, dInner }),
      }),
      ofMatrix('ddown', { left: active, right: dy, output: outputOf(call, gate === null ? 2 : 3) }, gradientDown),
      ofMatrix('dup', { left: x, right: dInner, output: outputOf(call, 1) }),
      product('dinner·upᵀ', { ...narrow, rows: dInner, matrices: input(up), output: outputOf(call, 0) }),
    ]
    if (gate !== null && dInnerGate) {
      const added = sumOutput({ to: output(0), addend: 'itself' })
      dispatches.push(
        ofMatrix('dgate', { left: x, right: dInnerGate, output: outputOf(call, 2) }),
        product('+ dinnerGate·gateᵀ', { ...narrow, rows: dInnerGate, matrices: input(gate), output: added }),
      )
    }
    return { scratch: scratch.all, dispatches }
  },

  work: (call) => work(call, 1, 2),

  halves: { inputs: 'all', outputs: [0, 1, 2, 3] },
  // The gradients of the matrices.
  scales: [1, 2, 3],
})

export const expertFfn = expertFfnIn(expertTiles)
export const expertFfnGradient = expertFfnGradientIn(expertTiles)
