/** The choices of routers, collected token by token from passes that compute several tokens or one. */
import type { RoutedModule } from '../../../core/model/config/moe-config.ts'

/** The choices of a router for the tokens of a pass; K = prototypes · k, grouped by prototype. */
export interface RouterRows {
  readonly layer: number
  readonly module: RoutedModule
  /** Number of experts over all prototypes. */
  readonly experts: number
  readonly prototypes: number
  /** Expert id of each choice, 0 to experts − 1. */
  readonly expert_TK: Int32Array
  readonly gate_TK: Float32Array
}

export interface TracedRouter extends Pick<RouterRows, 'layer' | 'module' | 'experts' | 'prototypes'> {
  /** Number of choices per token; the choices of a prototype are adjacent. */
  readonly choices: number
  /** [tokens · choices] ids of experts. */
  readonly expert: readonly number[]
  readonly gate: readonly number[]
}

type Collected = TracedRouter & { readonly expert: number[]; readonly gate: number[] }

/** The choices of all routers for the tokens of a text, which are added in order. */
export class CollectedRoutes {
  private readonly collected: Collected[] = []

  get routers(): readonly TracedRouter[] {
    return this.collected
  }

  /**
   * Adds the tokens `from` to `to` − 1 of a pass.
   * @param tokens Number of tokens of the pass.
   */
  add(routers: readonly RouterRows[], tokens: number, from: number, to: number): void {
    for (const [r, { expert_TK, gate_TK, ...router }] of routers.entries()) {
      const { layer, module, experts, prototypes } = router
      const choices = expert_TK.length / tokens
      this.collected[r] ??= { layer, module, experts, prototypes, choices, expert: [], gate: [] }
      const { expert, gate } = this.collected[r]
      for (let i = from * choices; i < to * choices; i++) {
        expert.push(expert_TK[i] as number)
        // People read fewer than four digits.
        gate.push(Number((gate_TK[i] as number).toPrecision(4)))
      }
    }
  }
}
