/**
 * Decodes the next tokens of texts whose keys and values are in one cache. The tokens of several texts
 * are computed at once, so kernels read every weight once for all of them, and the weights of the chosen experts in
 * place. A step of 7 texts is one of 4, one of 2 and one of 1 (src/core/model/token-program.ts). What is computed for a text
 * does not depend on the others.
 */

import { activatedExperts } from '../../../core/model/config/moe-config.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { pagesFor } from '../../../core/model/kv-cache.ts'
import { isSparse, type ParameterSpec } from '../../../core/model/parameters.ts'
import { type Rotation, rotationOf, writeAngles } from '../../../core/model/rotary.ts'
import { hasRouterWeights } from '../../../core/model/routing/routers.ts'
import { equalGates, routeName } from '../../../core/model/token-program.ts'
import { choicesName } from '../../../core/model/transformer.ts'
import { type ArenaRange, floatsOf } from '../../../engine/contract/arena.ts'
import type { Binding, Buffer, PortMemory } from '../../../engine/contract/runtime.ts'
import type { BorrowedScratch } from '../../../train/step/store/bank.ts'
import { QuantizedStore } from '../quantized/quantized-store.ts'
import type { RouterRows } from './collected-routes.ts'
import { KeyValueCache } from './key-value-cache.ts'
import type { PredeterminedExperts } from './predetermined-experts.ts'
import { borrowMemory, type DecoderSize, isCopied, rowsAtOnce, workingFloats } from './token-memory.ts'
import type { CompiledTokens, TokenProgram } from './token-program.ts'

/** A token that is added to a text. */
export interface NextToken {
  /** The pages of the text in the cache, the one with its position included. */
  readonly pages: readonly number[]
  readonly token: number
  /** From 0, below `sequence`: the first position of the text that is not in the cache. */
  readonly position: number
  readonly experts: PredeterminedExperts
}

/** What is computed for a token. The next step overwrites it. */
export interface TokenResult {
  /** Logits [V] for the token after it. */
  readonly logits: Float32Array
  /** The choices of routers for `length` tokens, of which this is number `row`, if the program has them. */
  readonly routers: readonly RouterRows[]
  readonly length: number
  readonly row: number
}

export class TokenDecoder {
  readonly cache: KeyValueCache
  /** Number of texts. */
  readonly texts: number
  private readonly program: TokenProgram
  private readonly memory: BorrowedScratch
  private readonly steps: readonly Step[]
  /** Copies of parameters that kernels do not reach, by name. */
  private readonly copies = new Map<string, ArenaRange>()

  private constructor(program: TokenProgram, { texts, pages }: DecoderSize, memory: BorrowedScratch) {
    const { config, runtime, inArena } = program
    this.program = program
    this.memory = memory
    this.texts = texts
    this.cache = new KeyValueCache(config, pages, (floats) => memory.take(floats))
    // On the CPU kernels reach the arena only; a device gets arrays as inputs.
    const floats = (count: number): Float32Array => (inArena ? floatsOf(memory.take(count)) : new Float32Array(count))
    this.steps = rowsAtOnce(config, runtime.threads, texts).map(
      (rows) => new Step(config, rows, program.routes, floats),
    )
  }

  /** A decoder of some texts; null if there is no memory for it, or the model cannot be decoded token by token. */
  static open(program: TokenProgram, size: DecoderSize): TokenDecoder | null {
    const memory = borrowMemory(program.runtime, program.config, program.store, size)
    return memory && new TokenDecoder(program, size, memory)
  }

  /**
   * Adds tokens to their texts, no two to the same.
   * @param onResult Called for each token in turn, with its index; what it is given is overwritten after its return.
   */
  async step(tokens: readonly NextToken[], onResult: (index: number, result: TokenResult) => void): Promise<void> {
    for (let done = 0; done < tokens.length; ) {
      const step = this.steps.find(({ rows }) => rows <= tokens.length - done) as Step
      const { rows } = step
      step.set(tokens.slice(done, done + rows))
      step.binding ??= this.bind(step, await this.program.compiled(rows, this.cache.pages))
      await step.binding.run()
      for (let row = 0; row < rows; row++) onResult(done + row, step.result(row))
      done += rows
    }
  }

  private bind({ rows, ports }: Step, { executable, used }: CompiledTokens): Binding {
    const { program, cache, memory } = this
    const { runtime, config, store, inArena } = program
    const quantized = store instanceof QuantizedStore ? store : null
    const at = (name: string): PortMemory => {
      const parameter = used.get(name)
      if (parameter) return this.reachable(name, parameter.spec, store.parameter(parameter.spec.name, parameter.expert))
      return (ports[name] ?? quantized?.range(name) ?? cache.table(name)) as PortMemory
    }
    const { inputs, outputs } = executable.model
    const memories = Object.fromEntries([...inputs, ...outputs].map(({ name }) => [name, at(name)]))
    if (!inArena) return executable.bind(memories)
    const working = memory.take(workingFloats(config, runtime.threads, rows))
    const within = {
      arena: memory.arena,
      start: working.start * 4,
      bytes: working.count * 4,
      beside: store.beside.filter(({ arena }) => arena !== memory.arena),
    }
    return executable.bind(memories, within)
  }

  /** A parameter where kernels reach it. */
  private reachable(name: string, spec: ParameterSpec, range: ArenaRange): ArenaRange {
    const { memory, copies } = this
    if (!this.program.inArena || range.arena === memory.arena || !isCopied(spec)) return range
    const copied = copies.get(name)
    if (copied) return copied
    const copy = memory.take(range.count)
    floatsOf(copy).set(floatsOf(range))
    copies.set(name, copy)
    return copy
  }

  release(): void {
    for (const { binding } of this.steps) binding?.release()
    this.memory.release()
  }
}

/** Inputs and outputs of the program of some texts. */
class Step {
  readonly rows: number
  readonly ports: Readonly<Record<string, Buffer>>
  binding: Binding | undefined
  private readonly rotation: Rotation
  private readonly cos: Float32Array
  private readonly sin: Float32Array
  private readonly token: Int32Array
  private readonly position: Int32Array
  /** The pages of each text [R, ⌈S/P⌉]. */
  private readonly pages: Int32Array
  private readonly logits: Float32Array
  /** Experts [R, K] chosen by routers without weights, by layer. */
  private readonly choices = new Map<number, Int32Array>()
  private readonly routers: readonly RouterRows[]

  constructor(config: ModelConfig, rows: number, routes: boolean, floats: (count: number) => Float32Array) {
    const integers = (count: number): Int32Array => {
      const { buffer, byteOffset } = floats(count)
      return new Int32Array(buffer, byteOffset, count)
    }
    this.rows = rows
    this.rotation = rotationOf(config)
    this.token = integers(rows)
    this.position = integers(rows)
    this.pages = integers(rows * pagesFor(config, config.sequence))
    this.cos = floats(rows * this.rotation.frequencies.length)
    this.sin = floats(rows * this.rotation.frequencies.length)
    this.logits = floats(rows * config.vocabulary)
    const { token, position, pages, cos, sin, logits } = this
    const ports: Record<string, Buffer> = { token, position, pages, cos, sin, logits }
    const routers: RouterRows[] = []
    for (let layer = 0; layer < config.layers; layer++) {
      const { moe } = config
      if (!moe || !isSparse(config, layer)) continue
      const { experts, prototypes } = moe
      const router = { layer, module: 'ffn', experts, prototypes } as const
      const choices = rows * activatedExperts(moe)
      if (!hasRouterWeights(moe)) {
        const expert_TK = integers(choices)
        this.choices.set(layer, expert_TK)
        ports[choicesName(layer)] = expert_TK
        routers.push({ ...router, expert_TK, gate_TK: equalGates(moe, rows) })
      } else if (routes) {
        const [expert_TK, gate_TK] = [integers(choices), floats(choices)]
        ports[routeName(layer, 'experts')] = expert_TK
        ports[routeName(layer, 'gates')] = gate_TK
        routers.push({ ...router, expert_TK, gate_TK })
      }
    }
    this.ports = ports
    this.routers = routers
  }

  /** Writes the inputs of as many tokens as there are rows. */
  set(tokens: readonly NextToken[]): void {
    const half = this.rotation.frequencies.length
    for (const [row, { token, position, pages, experts }] of tokens.entries()) {
      this.token[row] = token
      this.position[row] = position
      // Pages beyond the last of a text are not read.
      this.pages.set(pages, (row * this.pages.length) / this.rows)
      const [from, to] = [row * half, (row + 1) * half]
      writeAngles(this.rotation, position, { cos: this.cos.subarray(from, to), sin: this.sin.subarray(from, to) })
      for (const [layer, choices] of this.choices) {
        const each = choices.length / this.rows
        experts.choose(layer, token, position, choices.subarray(row * each, (row + 1) * each))
      }
    }
  }

  result(row: number): TokenResult {
    const { logits, routers, rows } = this
    const vocabulary = logits.length / rows
    return { logits: logits.subarray(row * vocabulary, (row + 1) * vocabulary), routers, length: rows, row }
  }
}
