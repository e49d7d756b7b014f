/**
 * Softmax of rows, in two passes over a row: the first pass keeps a running maximum and the sum of exponentials
 * relative to it (Milakov and Gimelshein 2018, algorithm 3), the second pass writes the results, mostly from the cache.
 */
import { implement, rowsOf, WORKGROUP, workgroupMain } from './contract.ts'
import { dispatchOf } from './dispatch.ts'
import { lanesOf, reduction } from './reduce.ts'
import { axisView } from './views.ts'

/**
 * WGSL of `Mass`: the maximum of some numbers and the sum of their exponentials relative to it. NaN and +∞ make the sum
 * NaN, whatever `max` makes of them.
 */
export const MASS = `
alias Mass = vec2<f32>;
fn no_mass() -> Mass { return Mass(-0x1.fffffep+127f, 0.0); }
fn mass_of(a: Mass, b: Mass) -> Mass {
  let highest = max(a.x, b.x);
  return Mass(highest, a.y * exp(a.x - highest) + b.y * exp(b.x - highest));
}`

/**
 * An operator of ONNX along the last axis.
 * @param result WGSL of an element, in terms of `x` and the `mass` of its row
 */
const softmaxOf = (name: 'Softmax' | 'LogSoftmax', result: string) =>
  implement(
    { name, inputs: ['x'], outputs: ['y'] },
    {
      lower({ attributes: { axis = -1 }, inputs: { x }, outputs: { y } }) {
        if (axis !== -1 && axis !== x.shape.length - 1)
          throw new Error(`internal: ${name} along axis ${axis}, not the last`)
        const { outer: count, length: width } = axisView(x, -1)
        if (count * width === 0) return []
        const lanes = lanesOf(width)
        const rows = WORKGROUP / lanes
        const groups = Math.ceil(count / rows)
        const softmax = dispatchOf({
          name,
          operands: { x, y },
          workgroups: rowsOf(groups),
          code: ({ x, y }) => `
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
        })
        return [softmax]
      },
      work: ({ inputs: { x } }) => ({ flops: 8 * x.size, bytes: 8 * x.size }),
    },
  )

export const softmax = softmaxOf('Softmax', 'exp(x - mass.x) / mass.y')

export const logSoftmax = softmaxOf('LogSoftmax', 'x - mass.x - log(mass.y)')
