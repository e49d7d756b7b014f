/** The router's choice for a single token, by the rules of src/model/routing/routers.ts. */
import { type Kernel, type Operand, rowsOf, WORKGROUP, workgroupMain } from '../../contract.ts'
import { COMES_FIRST, FLOAT_KEY } from '../order/sort-block.ts'
import { reduction } from '../reduce.ts'
import { MASS } from '../softmax.ts'

interface Rule {
  readonly prototypes: number
  readonly k: number
  /** Whether the softmax runs over the chosen experts, not over all of the prototype. */
  readonly after: number
  readonly renormalize: number
}

/**
 * Inputs logits [1, N] (, bias of the scores [N]); outputs the experts int32 [1, K] and their gates [1, K]: the k best of
 * each prototype. Of equal scores the first wins. A workgroup chooses for a prototype, in k rounds: each finds the
 * best of the experts that come after the last choice.
 */
export const chooseExperts: Kernel = {
  lower({ attributes, inputs, outputs }) {
    if ((outputs[0] as Operand).size === 0) return { dispatches: [] }
    const rule = attributes as unknown as Rule
    const { prototypes } = rule
    const width = (inputs[0] as Operand).size / prototypes
    const hasBias = inputs.length > 1
    return {
      dispatches: [
        {
          name: 'choose-experts',
          operands: [{ input: 0 }, { output: 0 }, { output: 1 }, ...(hasBias ? [{ input: 1 }] : [])],
          workgroups: rowsOf(prototypes),
          code: ([logits, experts, gates, bias]) => `
${MASS}
${FLOAT_KEY}
${COMES_FIRST}
struct Best { key: u32, position: u32 }
fn better(a: Best, b: Best) -> Best {
  if (comes_first(b.key, b.position, a.key, a.position)) { return b; }
  return a;
}
${reduction({ name: 'best_of_all', type: 'Best', lanes: WORKGROUP, merge: (a, b) => `better(${a}, ${b})` })}
${rule.after ? '' : reduction({ name: 'mass_of_all', type: 'Mass', lanes: WORKGROUP, merge: (a, b) => `mass_of(${a}, ${b})` })}
${workgroupMain(prototypes)} {
  let first = row * ${width}u;
  ${rule.after ? '' : massOfAll(width)}
  ${rounds(rule, width, bias)}
  ${rule.after ? massOfChosen(rule) : ''}
  var total = ${rule.renormalize ? '0.0' : '1.0'};
  ${rule.renormalize ? `for (var i = 0u; i < ${rule.k}u; i++) { total += probability(first + chosen[i], mass); }` : ''}
  for (var i = local; i < ${rule.k}u; i += ${WORKGROUP}u) {
    ${experts}[row * ${rule.k}u + i] = i32(first + chosen[i]);
    ${gates}[row * ${rule.k}u + i] = probability(first + chosen[i], mass) / total;
  }
}

var<workgroup> chosen: array<u32, ${rule.k}>;

fn logit(expert: u32) -> f32 { return ${logits}[expert]; }
fn probability(expert: u32, mass: Mass) -> f32 { return exp(logit(expert) - mass.x) / mass.y; }
`,
        },
      ],
    }
  },
}

/** `mass` of the logits of all experts of the prototype. */
const massOfAll = (width: number): string => `
  var own = no_mass();
  for (var i = local; i < ${width}u; i += ${WORKGROUP}u) { own = mass_of(own, Mass(logit(first + i), 1.0)); }
  let mass = mass_of_all(own, local);`

/** `mass` of the logits of the chosen ones. */
const massOfChosen = ({ k }: Rule): string => `
  var mass = no_mass();
  for (var i = 0u; i < ${k}u; i++) { mass = mass_of(mass, Mass(logit(first + chosen[i]), 1.0)); }`

/** Sets `chosen`. A softmax does not change the order of scores, but a bias added to it does. */
function rounds({ k, after }: Rule, width: number, bias: string | undefined): string {
  const value = after || !bias ? 'logit(first + i)' : 'probability(first + i, mass)'
  const score = bias ? `${value} + ${bias}[first + i]` : value
  return `
  var last_key = 0u;
  var last = 0u;
  for (var round = 0u; round < ${k}u; round++) {
    var own_best = Best(0u, ${width}u);
    for (var i = local; i < ${width}u; i += ${WORKGROUP}u) {
      let key = float_key(bitcast<u32>(${score}));
      let is_left = round == 0u || comes_first(last_key, last, key, i);
      if (is_left) { own_best = better(own_best, Best(key, i)); }
    }
    let best = best_of_all(own_best, local);
    last_key = best.key;
    last = best.position;
    if (local == 0u) { chosen[round] = last; }
    workgroupBarrier();
  }`
}
