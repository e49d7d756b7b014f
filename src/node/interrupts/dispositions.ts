/**
 * Sets the system's own action at a signal, for times when JavaScript cannot act: Node runs its handlers in the event
 * loop, so they wait while the main thread computes. When an armed signal arrives, the system resets its action to the
 * default (SA_RESETHAND). So until it is armed again, the next signal ends the process, whatever its threads are doing.
 */
import { addressOf, loadLibrary } from '../../engine/native/ffi.ts'

/** Numbers of SIGINT and SIGTERM, the same on all systems. */
const SIGNALS = [2, 15]

/** Size of a buffer that holds a `struct sigaction`, and the offset of `sa_flags` in the struct, by system. */
const STRUCT_BYTES = 256
const layouts: Partial<Record<NodeJS.Platform, { readonly flagsAt: number; readonly reset: number }>> = {
  // The struct of glibc is the handler, 128 bytes of mask, flags.
  linux: { flagsAt: 136, reset: 0x80000000 },
  // The struct of macOS is the handler, 4 bytes of mask, flags.
  darwin: { flagsAt: 12, reset: 4 },
}
const layout = layouts[process.platform]

const libc = layout && loadLibrary(null)
const sigaction = libc?.func('sigaction', 'int', ['int', 'uintptr_t', 'uintptr_t'])
const exit = libc?.func('_exit', 'void', ['int'])

/** Actions, by signal, that hand the signal to the event loop and reset themselves. */
const armed = new Map<number, Uint8Array>()

function currentAction(signal: number): Uint8Array {
  const action = new Uint8Array(STRUCT_BYTES)
  sigaction?.(signal, 0, addressOf(action))
  return action
}

const isDefault = (action: Uint8Array): boolean => new DataView(action.buffer).getBigUint64(0, true) === 0n

/** Arms signals whose handlers Node has installed. Call it after each `process.on`. Does nothing on Windows. */
export function armSignals(): void {
  if (!layout) return
  for (const signal of SIGNALS) {
    const action = currentAction(signal)
    if (isDefault(action)) continue
    const view = new DataView(action.buffer)
    view.setUint32(layout.flagsAt, view.getUint32(layout.flagsAt, true) | layout.reset, true)
    armed.set(signal, action)
    sigaction?.(signal, addressOf(action), 0)
  }
}

/** Arms signals that have arrived. Call it in their handlers. */
export function armAgain(): void {
  for (const [signal, action] of armed) if (isDefault(currentAction(signal))) sigaction?.(signal, addressOf(action), 0)
}

/** Whether an armed signal has arrived, and its handler has not run yet. */
export const hasArrived = (): boolean =>
  layout !== undefined && SIGNALS.some((signal) => isDefault(currentAction(signal)))

/** Ends the process at once; unlike `process.exit`, it waits for no thread. Returns on Windows. */
export function endProcess(code: number): void {
  exit?.(code)
}
