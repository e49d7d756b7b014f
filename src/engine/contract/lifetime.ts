import { RuntimeError } from './runtime.ts'

/**
 * Decides when something that native code uses is freed: after it is released and its last use has ended. So a
 * release during a run takes effect when the run ends.
 */
export class Lifetime {
  private readonly name: string
  private readonly free: () => void
  private uses = 0
  private released = false

  /**
   * @param name Name of the thing in errors: executable, binding.
   * @param free Frees the thing; it is called once.
   */
  constructor(name: string, free: () => void) {
    this.name = name
    this.free = free
  }

  /** @throws RuntimeError if it has been released. */
  expectUsable(): void {
    if (this.released) throw new RuntimeError(`internal: this ${this.name} has been released`)
  }

  /** @throws RuntimeError if it has been released or is in use: runs of a binding must not overlap. */
  expectIdle(): void {
    this.expectUsable()
    if (this.uses > 0) throw new RuntimeError(`internal: this ${this.name} is already running`)
  }

  /** Begins a use, which {@link end} ends. */
  begin(): void {
    this.uses++
  }

  end(): void {
    this.uses--
    this.freeWhenIdle()
  }

  /** Releases the thing, which is freed when no use is left. Idempotent. */
  release(): void {
    if (this.released) return
    this.released = true
    this.freeWhenIdle()
  }

  private freeWhenIdle(): void {
    if (this.released && this.uses === 0) this.free()
  }
}
