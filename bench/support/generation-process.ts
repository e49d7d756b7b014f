/**
 * A child process that loads a model and generates on command, so that its peak memory and the time until its first token
 * are its own. Its script speaks the protocol of `serve-generation.mjs`.
 */
import { LineProcess } from './line-process.ts'

/** The description that the process sends when the model is loaded. */
export interface GeneratorInfo {
  /** Milliseconds of loading the model, after the modules of the program were loaded. */
  readonly loadMs: number
  /** Number of threads. */
  readonly threads: number
}

export interface Generated {
  /** The greedy tokens; the first comes from the prompt. */
  readonly tokens: readonly number[]
  /** Milliseconds from the prompt to the first token. */
  readonly prefillMs: number
  /** Milliseconds of each later token. */
  readonly msPerToken: readonly number[]
  /** Peak resident memory of the process so far. */
  readonly peakMiB: number
}

/** Several texts that are generated at once. */
export interface Together {
  /** Tokens per second of all of them, from when each has its first token until the first of them is complete. */
  readonly tokensPerSecond: number
  /** Peak resident memory of the process so far. */
  readonly peakMiB: number
}

export class GenerationProcess<Info extends GeneratorInfo, Answer extends Generated> {
  readonly info: Info
  private readonly child: LineProcess

  private constructor(child: LineProcess, info: Info) {
    this.child = child
    this.info = info
  }

  /**
   * Starts a script with Node and waits until the model is loaded.
   * @param name for error messages, e.g. `llama.cpp`
   * @param args the script and its arguments
   * @throws UsageError or RunError if the model cannot be loaded
   */
  static async start<Info extends GeneratorInfo, Answer extends Generated>(
    name: string,
    args: readonly string[],
  ): Promise<GenerationProcess<Info, Answer>> {
    const child = new LineProcess(name, process.execPath, args, process.env)
    return new GenerationProcess(child, (await child.answer()) as Info)
  }

  /** Generates `tokens` tokens after a prompt of at least one id. */
  async generate(tokens: number, prompt: readonly number[]): Promise<Answer> {
    return (await this.child.ask({ generate: tokens, prompt })) as Answer
  }

  /** Generates `tokens` tokens after each of several prompts at once. */
  async together(tokens: number, prompts: readonly (readonly number[])[]): Promise<Together> {
    return (await this.child.ask({ generate: tokens, prompts })) as Together
  }

  stop(): Promise<void> {
    return this.child.stop()
  }
}
