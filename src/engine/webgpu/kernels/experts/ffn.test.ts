/**
 * The feed-forward networks of experts and their gradients, against plain loops.
 *
 * @slow
 */
import { describe, test } from 'vitest'
import {
  type Exact,
  exact,
  expectExact,
  float,
  HALF_ROUNDING,
  type Matrix,
  multiply,
  plus,
  randomTensor,
  rounded,
  runTwice,
  times,
  transpose,
  zip,
} from '../../testing/exact.ts'
import { LAYOUTS, matricesOf, PackedRows } from '../../testing/packed-rows.ts'
import { testDevice } from '../../testing/run-kernel.ts'
import { TILES, type Tile } from '../products/product-tiles.ts'
import { expertFfn, expertFfnGradient, expertFfnGradientIn, expertFfnIn } from './ffn.ts'

/** Applies a function whose slope is about 1 at most, so that errors of x are errors of the result. */
const apply = (of: (x: number) => number, a: Matrix): Matrix =>
  a.map((row) => row.map(({ value, magnitude }): Exact => ({ value: of(value), magnitude: Math.max(1, magnitude) })))

const density = (x: number): number => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)

/** The normal distribution function Φ, by Simpson's rule. */
function cdf(x: number): number {
  const steps = 200
  const weight = (i: number) => (i === 0 || i === steps ? 1 : i % 2 === 1 ? 4 : 2)
  const terms = Array.from({ length: steps + 1 }, (_, i) => weight(i) * density((i * x) / steps))
  return 0.5 + (x / steps / 3) * terms.reduce((sum, term) => sum + term, 0)
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))
const gelu = (a: Matrix) => apply((x) => x * cdf(x), a)
const geluSlope = (a: Matrix) => apply((x) => cdf(x) + x * density(x), a)
const swish = (a: Matrix) => apply((x) => x * sigmoid(x), a)
const swishSlope = (a: Matrix) => apply((x) => sigmoid(x) * (1 + x * (1 - sigmoid(x))), a)

interface Expert {
  readonly x: Matrix
  readonly dy: Matrix
  readonly up: Matrix
  readonly gate: Matrix
  readonly down: Matrix
}

/** Results of an expert, by the chain rule. */
function resultsOf({ x, dy, up, gate, down }: Expert, D: number, F: number, gated: boolean) {
  const [inner, innerGate] = [multiply(x, up, F), multiply(x, gate, F)]
  const active = gated ? zip(swish(innerGate), inner, times) : gelu(inner)
  const dActive = multiply(dy, transpose(down, D), F)
  const dInner = zip(dActive, gated ? swish(innerGate) : geluSlope(inner), times)
  const dInnerGate = zip(zip(dActive, inner, times), swishSlope(innerGate), times)
  const throughUp = multiply(dInner, transpose(up, F), D)
  return {
    inner,
    innerGate,
    y: multiply(active, down, D),
    dx: gated ? zip(throughUp, multiply(dInnerGate, transpose(gate, F), D), plus) : throughUp,
    dUp: multiply(transpose(x, D), dInner, F),
    dGate: multiply(transpose(x, D), dInnerGate, F),
    dDown: multiply(transpose(active, F), dy, D),
  }
}

describe.skipIf(testDevice === null)('expert-ffn', { timeout: 120_000 }, () => {
  const [large, medium] = TILES
  const [uneven = []] = LAYOUTS
  const chosen = { tiles: 'chosen', half: false, forward: expertFfn, backward: expertFfnGradient }
  const withTiles = (tiles: string, rows: Tile, gradient: Tile) => ({
    tiles,
    half: false,
    forward: expertFfnIn(() => ({ rows, gradient })),
    backward: expertFfnGradientIn(() => ({ rows, gradient })),
  })
  const cases = [
    ...LAYOUTS.flatMap((sizes) => [false, true].map((gated) => ({ sizes, D: 12, F: 20, gated, ...chosen }))),
    { sizes: [70, 3, 0, 60, 4], D: 8, F: 72, gated: false, ...withTiles('medium and large', medium, large) },
    { sizes: [3, 0, 135], D: 5, F: 35, gated: true, ...withTiles('large and medium', large, medium) },
    { sizes: uneven, D: 12, F: 20, gated: true, ...chosen, half: true },
  ]

  test.each(cases)('D = $D, F = $F, gated $gated, $sizes rows, $tiles tiles, f16 $half', async (of) => {
    const { sizes, D, F, gated, half, forward, backward } = of
    const rows = new PackedRows(sizes)
    const N = rows.experts
    const dtype = half ? 'float16' : 'float32'
    // Rows are f16 in memory, weights float32, and rounded by the kernel: here they are rounded beforehand.
    const activation = (tensor: ReturnType<typeof randomTensor>) => (half ? rounded(tensor) : tensor)
    const weight = (tensor: ReturnType<typeof randomTensor>) => (half ? rounded(tensor, 'float32') : tensor)
    // From inputs to a result at most four values are rounded: products before the activation, its result or gradients,
    // and the result, twice where two products are added. Each rounding is at most doubled by a slope.
    const scale = half ? 2 ** -3 : 1
    const tolerance = half ? 6 * HALF_ROUNDING : 0
    const [x, dy] = [activation(rows.random(D, 1)), activation(rows.random(D, 2))]
    const [up, gate, down] = [
      weight(randomTensor([N, D, F], 3)),
      weight(randomTensor([N, D, F], 4)),
      weight(randomTensor([N, F, D], 5)),
    ]
    const [ofX, ofDy, ofGate, ofDown] = [rows.split(x, D), rows.split(dy, D), matricesOf(gate), matricesOf(down)]
    const results = matricesOf(up).map((up, e) => {
      const [x, dy, gate, down] = [ofX[e], ofDy[e], ofGate[e], ofDown[e]] as [Matrix, Matrix, Matrix, Matrix]
      return resultsOf({ x, dy, up, gate, down }, D, F, gated)
    })
    const all = (name: keyof (typeof results)[number]) => results.map((of) => of[name])
    const inputs = { rows: x, sizes: rows.sizes, up, gate: gated ? gate : undefined, down }
    const ofRows = (width: number, data?: Float64Array) => ({
      ...float([rows.count, width], dtype),
      ...(data && { data }),
    })
    const { y, ...saved } = await runTwice(forward, {
      inputs,
      outputs: { y: ofRows(D), inner: ofRows(F), innerGate: gated ? ofRows(F) : undefined },
      rounds: half,
    })
    rows.expect(y, D, all('y'), tolerance)
    rows.expect(saved.inner, F, all('inner'), half ? HALF_ROUNDING : 0)
    if (gated) rows.expect(saved.innerGate ?? [], F, all('innerGate'), half ? HALF_ROUNDING : 0)

    const addends = {
      dUp: randomTensor(up.shape, 6),
      dGate: randomTensor(gate.shape, 7),
      dDown: randomTensor(down.shape, 8),
    }
    const { dRows, ...gradients } = await runTwice(backward, {
      attributes: { leaves: 1, parts: 1, sources: 1 },
      inputs: {
        dy,
        ...inputs,
        inner: ofRows(F, saved.inner),
        innerGate: gated ? ofRows(F, saved.innerGate) : undefined,
      },
      outputs: {
        dRows: ofRows(D),
        dUp: float(up.shape),
        dGate: gated ? float(gate.shape) : undefined,
        dDown: float(down.shape),
      },
      addends: { ...addends, dGate: gated ? addends.dGate : undefined },
      scales: { dUp: scale, dGate: gated ? scale : undefined, dDown: scale },
      rounds: half,
    })
    rows.expect(dRows, D, all('dx'), tolerance)
    for (const name of gated ? (['dUp', 'dGate', 'dDown'] as const) : (['dUp', 'dDown'] as const)) {
      const { data } = addends[name]
      expectExact(
        gradients[name] ?? [],
        all(name)
          .flat(2)
          .map((sum, j) => plus(times(sum, exact(scale)), exact(data[j] as number))),
        tolerance,
      )
    }
  })
})
