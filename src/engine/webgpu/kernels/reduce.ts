/**
 * Reductions in a workgroup.
 *
 * Think of the 256 invocations of a workgroup as a table of *strands* × *lanes*: a strand works on a row, and its lanes
 * take turns with the columns. Narrow rows have few lanes, so that a workgroup holds several rows. Trees of additions
 * have a fixed shape, hence the same bits in every run, and a small rounding error.
 */
import { WORKGROUP } from './contract.ts'

/** Number of vectors of a row that a lane should have, for loads that overlap. */
const VECTORS_OF_LANE = 4

/** Number of lanes for rows of `vectors` vectors: 1, 4, 16, 64 or 256, at most `most`. */
export const lanesOf = (vectors: number, most = WORKGROUP): number =>
  Math.min(most, powerOfFourFrom(Math.ceil(vectors / VECTORS_OF_LANE)))

/** The smallest power of 4 that is not less than `x`. */
export const powerOfFourFrom = (x: number): number => (x <= 1 ? 1 : 4 * powerOfFourFrom(x / 4))

interface Reduction {
  readonly name: string
  /** WGSL type of a value. Default: f32. */
  readonly type?: string
  /** Number of invocations whose values are combined, a power of 2. */
  readonly lanes: number
  /** Number of invocations from a lane to the next. Default: 1. */
  readonly stride?: number
  /** WGSL that combines two values. Default: their sum. */
  readonly merge?: (a: string, b: string) => string
}

/**
 * WGSL function `name(value, local)`, which combines the values of all lanes of a row; all lanes get the result. It
 * must be called in uniform control flow. It merges four values at a time, for few barriers.
 */
export function reduction({ name, type = 'f32', lanes, stride = 1, merge = sum }: Reduction): string {
  const memory = `${name}_memory`
  const steps: string[] = []
  for (let left = lanes; left > 1; ) {
    const ways = left % 4 === 0 ? 4 : 2
    left /= ways
    const [first = '', ...others] = Array.from({ length: ways }, (_, i) => `${memory}[local + ${i * left * stride}u]`)
    const merged =
      ways === 4
        ? merge(merge(first, others[0] as string), merge(others[1] as string, others[2] as string))
        : merge(first, others[0] as string)
    steps.push(`if (lane < ${left}u) { ${memory}[local] = ${merged}; }`, 'workgroupBarrier();')
  }
  return `
var<workgroup> ${memory}: array<${type}, ${WORKGROUP}>;
fn ${name}(value: ${type}, local: u32) -> ${type} {
  let lane = local / ${stride}u % ${lanes}u;
  // Others may still read the result of the call before.
  workgroupBarrier();
  ${memory}[local] = value;
  workgroupBarrier();
  ${steps.join('\n  ')}
  return ${memory}[local - lane * ${stride}u];
}`
}

const sum = (a: string, b: string): string => `(${a} + ${b})`

/**
 * WGSL function `name(value, local)`, which gives the sums over all strands to the first strand of `lanes` invocations.
 * Strands are added one after the other, so there should be few. It must be called in uniform control flow.
 */
export const strandSum = ({ name, type = 'f32', lanes }: Omit<Reduction, 'merge' | 'stride'>): string => `
var<workgroup> ${name}_memory: array<${type}, ${WORKGROUP}>;
fn ${name}(value: ${type}, local: u32) -> ${type} {
  workgroupBarrier();
  ${name}_memory[local] = value;
  workgroupBarrier();
  var sum = value;
  if (local < ${lanes}u) {
    for (var i = local + ${lanes}u; i < ${WORKGROUP}u; i += ${lanes}u) { sum += ${name}_memory[i]; }
  }
  return sum;
}`
