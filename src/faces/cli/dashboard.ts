/**
 * The dashboard of a training (`train --watch`). It runs in a process of its own, so that it uses neither the
 * memory nor the event loop of the training. If it cannot start, the training continues without it.
 */
import { resolve } from 'node:path'
import { sourceFolder } from '../../node/data/sources/files.ts'
import { makeFolder, removeEmptyFolders } from '../../node/system/disk.ts'
import type { BackgroundProcess, Io } from './io.ts'

export interface Dashboard {
  readonly address: string
  stop(): Promise<void>
}

/** Returns undefined, after a message on stderr, if the dashboard cannot start. */
export async function startDashboard(
  io: Io,
  directory: string,
  source: string | readonly string[],
): Promise<Dashboard | undefined> {
  let child: BackgroundProcess | undefined
  let created: string[] = []
  try {
    // The training creates this folder too, but later than `choir watch` needs it.
    created = await makeFolder(resolve(directory))
    const texts = (typeof source === 'string' ? [source] : source).map(sourceFolder)
    const data = texts.filter((text) => text !== undefined).flatMap((text) => ['--data', text])
    child = await io.startSelf(['watch', directory, '--json', ...data])
    const line: unknown = JSON.parse(child.line)
    if (typeof line !== 'object' || line === null || !('address' in line) || typeof line.address !== 'string')
      throw new Error(`internal: the first line of choir watch is ${child.line}`)
    const { stop } = child
    return {
      address: line.address,
      async stop() {
        await stop()
        // The folders are empty if the training did not start.
        await removeEmptyFolders(created)
      },
    }
  } catch (error) {
    await child?.stop()
    await removeEmptyFolders(created)
    io.stderr.write(`choir: training without the dashboard: ${(error as Error).message}\n`)
    return undefined
  }
}
