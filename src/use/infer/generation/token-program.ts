/** The programs of the next tokens of a few texts: one for each number of texts, compiled when it is first needed. */
import { withKernels } from '../../../core/graph/tensor.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { type ParameterSpec, parameterSpecs, SymbolicParameters } from '../../../core/model/parameters.ts'
import { tokenProgram } from '../../../core/model/token-program.ts'
import type { Executable, Runtime } from '../../../engine/contract/runtime.ts'
import { inputNameOf, type ModelStore } from '../../../train/step/store/model-store.ts'
import { QuantizedStore } from '../quantized/quantized-store.ts'

export interface CompiledTokens {
  readonly executable: Executable
  /** The parameters that are inputs, by name. */
  readonly used: ReadonlyMap<string, { readonly spec: ParameterSpec; readonly expert: number | null }>
}

export class TokenProgram {
  readonly runtime: Runtime
  readonly config: ModelConfig
  readonly store: ModelStore
  /** Whether the programs have the choices of routers as outputs. */
  readonly routes: boolean
  private readonly compiling = new Map<string, Promise<CompiledTokens>>()
  private readonly executables: Executable[] = []

  constructor(runtime: Runtime, config: ModelConfig, store: ModelStore, routes = false) {
    this.runtime = runtime
    this.config = config
    this.store = store
    this.routes = routes && config.moe !== null
  }

  /** Whether kernels reach the arena of the program, and matrices and tables in the arenas of the parameters. */
  get inArena(): boolean {
    return this.runtime.device === 'cpu'
  }

  /** The program of `rows` texts, whose caches have `pages` pages. */
  compiled(rows: number, pages: number): Promise<CompiledTokens> {
    const key = `${rows} with ${pages} pages`
    const compiling = this.compiling.get(key) ?? this.compile(rows, pages)
    this.compiling.set(key, compiling)
    return compiling
  }

  private async compile(rows: number, pages: number): Promise<CompiledTokens> {
    const { runtime, config, store, inArena, routes } = this
    const bits = store instanceof QuantizedStore ? store.bits : undefined
    const parameters = new SymbolicParameters(parameterSpecs(config), 'float32')
    const options = { rows, pages, bits, routes }
    const program = withKernels(runtime.kernels, () => ({ outputs: tokenProgram(config, parameters, options) }))
    const executable = await runtime.compile(program, { portsInside: inArena })
    this.executables.push(executable)
    const used = parameters.used.map(({ spec, expert, tensor }) => [inputNameOf(tensor), { spec, expert }] as const)
    return { executable, used: new Map(used) }
  }

  /** Releases the programs; their decoders must have been released. */
  release(): void {
    for (const executable of this.executables.splice(0)) executable.release()
    this.compiling.clear()
  }
}
