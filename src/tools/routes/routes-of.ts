/** The decisions of routers for one token of a traced pass, as a record has them. */
import type { MoeConfig } from '../../core/model/config/moe-config.ts'
import type { CapacityRule } from '../../core/model/routing/contract.ts'
import type { RecordedRouter, Route } from '../../node/routes/format.ts'
import type { RouterTrace } from '../../use/infer/routing-tracer.ts'

/** The description of a router in a record. @param tokens Number of tokens of the pass. */
export function recordedRouter(
  { layer, module, experts, prototypes, expert_TK }: RouterTrace,
  { router }: MoeConfig,
  rule: CapacityRule,
  tokens: number,
  capacity: number | null,
): RecordedRouter {
  // With a capacity, experts choose tokens; without one, every token takes its top k.
  const isChosen = router === 'expert-choice' && rule !== 'none'
  return { layer, module, experts, prototypes, choices: isChosen ? null : expert_TK.length / tokens, capacity }
}

/** The decisions for token `t`. Where experts choose tokens, the chosen experts are those that took the token. */
export function routesOf(
  traced: readonly RouterTrace[],
  routers: readonly RecordedRouter[],
  t: number,
  tokens: number,
): Route[] {
  return traced.map(({ expert_TK, gate_TK, kept_TK, entropy_T }, i): Route => {
    const [experts, gates, dropped]: [number[], number[], number[]] = [[], [], []]
    const places = expert_TK.length / tokens
    const choosesTokens = (routers[i] as RecordedRouter).choices === null
    for (let at = t * places; at < (t + 1) * places; at++) {
      const isKept = kept_TK[at] === 1
      if (choosesTokens && !isKept) continue
      experts.push(expert_TK[at] as number)
      gates.push(gate_TK[at] as number)
      if (!isKept) dropped.push(expert_TK[at] as number)
    }
    return { experts, gates, entropy: entropy_T ? (entropy_T[t] as number) : null, dropped }
  })
}
