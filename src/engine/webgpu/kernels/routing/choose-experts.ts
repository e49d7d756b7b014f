/** The router's choices for the next tokens of a few texts, by the rules of src/core/model/routing/routers.ts. */
import * as declared from '../../../../core/graph/kernels/token.ts'
import { dim } from '../../../../core/graph/shape.ts'
import { implement, rowsOf, WORKGROUP, workgroupMain } from '../contract.ts'
import { dispatchOf } from '../dispatch.ts'
import { COMES_FIRST, FLOAT_KEY } from '../order/sort-block.ts'
import { reduction } from '../reduce.ts'
import { MASS } from '../softmax.ts'

type Rule = declared.ChoiceAttributes

const isLimited = ({ groups, groupsPerToken }: Rule): boolean => groupsPerToken < groups

/**
 * A workgroup chooses for a text and a prototype, in k rounds: each round finds the best of the experts that come after the last
 * choice.
 */
export const chooseExperts = implement(declared.chooseExperts, {
  lower({ attributes: rule, inputs: { logits, bias }, outputs: { experts, gates } }) {
    if (experts.size === 0) return []
    const { prototypes, k, after, sigmoid, renormalize, scale } = rule
    const hasMass = !after && !sigmoid
    const count = dim(logits.shape, -1)
    const width = count / prototypes
    const choosers = dim(logits.shape, 0) * prototypes
    const choose = dispatchOf({
      name: 'choose-experts',
      operands: { logits, experts, gates, bias },
      workgroups: rowsOf(choosers),
      code: ({ logits, experts, gates, bias }) => `
${MASS}
${FLOAT_KEY}
${COMES_FIRST}
struct Best { key: u32, position: u32 }
fn better_of(a: Best, b: Best) -> Best {
  if (comes_first(b.key, b.position, a.key, a.position)) { return b; }
  return a;
}
${reduction({ name: 'best_of_all', type: 'Best', lanes: WORKGROUP, merge: (a, b) => `better_of(${a}, ${b})` })}
${hasMass ? reduction({ name: 'mass_of_all', type: 'Mass', lanes: WORKGROUP, merge: (a, b) => `mass_of(${a}, ${b})` }) : ''}
${workgroupMain(choosers)} {
  let first = row * ${width}u;
  var mass = no_mass();
  ${hasMass ? massOfAll(width) : ''}
  ${isLimited(rule) ? bestGroups(rule, width) : ''}
  ${rounds(rule, width)}
  ${after ? massOfChosen(rule) : ''}
  var total = ${renormalize ? (sigmoid ? '1e-20' : '0.0') : '1.0'};
  ${renormalize ? `for (var i = 0u; i < ${k}u; i++) { total += score(first + chosen[i], mass); }` : ''}
  for (var i = local; i < ${k}u; i += ${WORKGROUP}u) {
    ${experts}[row * ${k}u + i] = i32(row % ${prototypes}u * ${width}u + chosen[i]);
    ${gates}[row * ${k}u + i] = score(first + chosen[i], mass) / total * ${scale.float};
  }
}

var<workgroup> chosen: array<u32, ${k}>;
${isLimited(rule) ? groupMemory(rule) : ''}

fn logit(expert: u32) -> f32 { return ${logits}[expert]; }
// The score that the gate is computed from.
fn score(expert: u32, mass: Mass) -> f32 {
  ${sigmoid ? 'return 1.0 / (1.0 + exp(min(-logit(expert), 80.0)));' : 'return exp(logit(expert) - mass.x) / mass.y;'}
}
// The score by which an expert is chosen. A softmax does not change the order of logits.
fn preference(expert: u32, mass: Mass) -> f32 {
  let value = ${after || (hasMass && !bias && !isLimited(rule)) ? 'logit(expert)' : 'score(expert, mass)'};
  return value${bias ? ` + ${bias}[expert % ${count}u]` : ''};
}
`,
    })
    return [choose]
  },
})

/** WGSL that adds up the softmax mass of all experts of the prototype in `mass`. */
const massOfAll = (width: number): string => `
  for (var i = local; i < ${width}u; i += ${WORKGROUP}u) { mass = mass_of(mass, Mass(logit(first + i), 1.0)); }
  mass = mass_of_all(mass, local);`

/** WGSL that adds up the softmax mass of the chosen experts in `mass`. */
const massOfChosen = ({ k }: Rule): string => `
  for (var i = 0u; i < ${k}u; i++) { mass = mass_of(mass, Mass(logit(first + chosen[i]), 1.0)); }`

/**
 * WGSL that sets `is_best` of each group: a group is among the best if fewer than `groupsPerToken` groups are better.
 * Of equal groups, the first is better.
 */
const bestGroups = ({ groups, groupsPerToken, pair }: Rule, width: number): string => `
  for (var g = local; g < ${groups}u; g += ${WORKGROUP}u) {
    var best = -0x1.fffffep+127f;
    var second = best;
    for (var i = 0u; i < ${width / groups}u; i++) {
      let value = preference(first + g * ${width / groups}u + i, mass);
      if (value > best) { second = best; best = value; } else { second = max(second, value); }
    }
    worth[g] = ${pair ? 'best + second' : 'best'};
  }
  workgroupBarrier();
  for (var g = local; g < ${groups}u; g += ${WORKGROUP}u) {
    var better = 0u;
    for (var h = 0u; h < ${groups}u; h++) {
      if (worth[h] > worth[g] || (worth[h] == worth[g] && h < g)) { better++; }
    }
    is_best[g] = u32(better < ${groupsPerToken}u);
  }
  workgroupBarrier();`

const groupMemory = ({ groups }: Rule): string => `
var<workgroup> worth: array<f32, ${groups}>;
var<workgroup> is_best: array<u32, ${groups}>;`

/** WGSL that sets `chosen`. */
const rounds = (rule: Rule, width: number): string => `
  var last_key = 0u;
  var last = 0u;
  for (var round = 0u; round < ${rule.k}u; round++) {
    var own_best = Best(0u, ${width}u);
    for (var i = local; i < ${width}u; i += ${WORKGROUP}u) {
      let key = float_key(bitcast<u32>(preference(first + i, mass)));
      let is_left = round == 0u || comes_first(last_key, last, key, i);
      if (is_left${isLimited(rule) ? ` && is_best[i / ${width / rule.groups}u] == 1u` : ''}) {
        own_best = better_of(own_best, Best(key, i));
      }
    }
    let best = best_of_all(own_best, local);
    last_key = best.key;
    last = best.position;
    if (local == 0u) { chosen[round] = last; }
    workgroupBarrier();
  }`
