/**
 * Softmax of rows. Two passes over a row: the first keeps a running maximum and the sum of exponentials relative to it
 * (Milakov and Gimelshein 2018, algorithm 3), the second writes the results, mostly from the cache.
 */
import { type Kernel, type KernelCall, type Operand, rowsOf, WORKGROUP, workgroupMain } from '../contract.ts'
import { lanesOf, reduction } from './reduce.ts'
import { axisView } from './views.ts'

/**
 * `Mass`: the maximum of some numbers and the sum of their exponentials relative to it. NaN and +∞ make the sum NaN,
 * whatever `max` makes of them.
 */
export const MASS = `
alias Mass = vec2<f32>;
fn no_mass() -> Mass { return Mass(-0x1.fffffep+127f, 0.0); }
fn mass_of(a: Mass, b: Mass) -> Mass {
  let highest = max(a.x, b.x);
  return Mass(highest, a.y * exp(a.x - highest) + b.y * exp(b.x - highest));
}`

/** @param result WGSL of an element: of `x` and the `mass` of its row */
function softmaxOf(result: string): Kernel {
  return {
    lower(call) {
      const { outer: count, length: width } = lastAxis(call)
      if (count * width === 0) return { dispatches: [] }
      const lanes = lanesOf(width)
      const rows = WORKGROUP / lanes
      const groups = Math.ceil(count / rows)
      return {
        dispatches: [
          {
            name: call.type,
            operands: [{ input: 0 }, { output: 0 }],
            workgroups: rowsOf(groups),
            code: ([x, y]) => `
${MASS}
${reduction({ name: 'mass_of_row', type: 'Mass', lanes, merge: (a, b) => `mass_of(${a}, ${b})` })}
${workgroupMain(groups)} {
  let lane = local % ${lanes}u;
  let line = row * ${rows}u + local / ${lanes}u;
  let first = line * ${width}u;
  var own = no_mass();
  if (line < ${count}u) {
    for (var i = lane; i < ${width}u; i += ${lanes}u) { own = mass_of(own, Mass(${x}[first + i], 1.0)); }
  }
  let mass = mass_of_row(own, local);
  if (line < ${count}u) {
    for (var i = lane; i < ${width}u; i += ${lanes}u) {
      let x = ${x}[first + i];
      ${y}[first + i] = ${result};
    }
  }
}`,
          },
        ],
      }
    },
    work: ({ inputs: [x] }) => ({ flops: 8 * (x as Operand).size, bytes: 8 * (x as Operand).size }),
  }
}

function lastAxis({ type, attributes: { axis = -1 }, inputs }: KernelCall) {
  const [x] = inputs as readonly [Operand]
  if (axis !== -1 && axis !== x.shape.length - 1) throw new Error(`internal: ${type} along axis ${axis}, not the last`)
  return axisView(x, -1)
}

/** ONNX `Softmax` along the last axis. */
export const softmax = softmaxOf('exp(x - mass.x) / mass.y')

/** ONNX `LogSoftmax` along the last axis. */
export const logSoftmax = softmaxOf('x - mass.x - log(mass.y)')
