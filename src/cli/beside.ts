/**
 * The dashboard beside a training, in a process of its own: reading and drawing take neither the memory nor the
 * event loop of the training. Without it the training is the same, so whatever fails here is a line and no more.
 */
import { mkdir } from 'node:fs/promises'
import { placeOfSource } from '../data/sources/files.ts'
import type { Beside, Io } from './io.ts'

export interface Dashboard {
  readonly address: string
  stop(): Promise<void>
}

/** Undefined when it cannot be started, which it says. */
export async function dashboardOf(
  io: Io,
  directory: string,
  source: string | readonly string[],
): Promise<Dashboard | undefined> {
  let beside: Beside | undefined
  try {
    // The training creates it as well, a moment too late.
    await mkdir(directory, { recursive: true })
    const texts = (typeof source === 'string' ? [source] : source).map(placeOfSource)
    const data = texts.filter((text) => text !== undefined).flatMap((text) => ['--data', text])
    beside = await io.startSelf(['watch', directory, '--json', ...data])
    const line: unknown = JSON.parse(beside.line)
    if (typeof line !== 'object' || line === null || !('address' in line) || typeof line.address !== 'string')
      throw new Error(`internal: choir watch began with ${beside.line}`)
    const { stop } = beside
    return { address: line.address, stop }
  } catch (error) {
    await beside?.stop()
    io.stderr.write(`choir: training without the dashboard: ${(error as Error).message}\n`)
    return undefined
  }
}
