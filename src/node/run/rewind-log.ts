/**
 * Takes a log of a run back to a step, so that the steps after it can be repeated. Records of later steps are cut off.
 * Nothing else is lost: if the log has lines that cannot be read, the unchanged file is kept under another name.
 */
import { constants, existsSync } from 'node:fs'
import { copyFile, link, open, rename, rm, stat } from 'node:fs/promises'
import { basename } from 'node:path'
import { plural } from '../../core/text/numbers.ts'
import { AppendFile } from '../system/append-file.ts'
import { errorCode } from '../system/disk.ts'
import { filePieces } from '../system/file-pieces.ts'
import { type FileLine, readLines } from '../system/jsonl.ts'

/** Bytes of a file from `start` to before `end`. */
type Stretch = readonly [start: number, end: number]

interface Survey {
  /** Parts of the file that stay, in order; neighbouring parts are joined. */
  readonly kept: readonly Stretch[]
  /** Number of lines that cannot be read, or that name a later step but stand before a record that stays. */
  readonly damaged: number
}

/**
 * Removes the records of later steps from a log.
 * @param path A log with a record on each line, in the order of their steps. A missing log stays missing.
 * @param step Step of the checkpoint that is continued. The records up to it were on disk before the checkpoint.
 * @returns A warning if lines could not be read
 */
export async function rewindLog(path: string, step: number): Promise<string | null> {
  const { kept, damaged } = await survey(path, step)
  if (!existsSync(path)) return null
  // A second name of the same file may be a backup, so the file is replaced, not changed.
  const isShared = (await stat(path)).nlink > 1
  if (damaged > 0 || isShared) {
    const copy = damaged > 0 ? await keepAs(path, `${path}.damaged`) : null
    await rewrite(path, kept)
    return copy && `${path}: ${plural(damaged, 'line')} cannot be read. The file as it was is now ${basename(copy)}`
  }
  await truncate(path, kept.at(-1)?.[1] ?? 0)
  return null
}

/** The highest step of the records of a log, 0 if it has none. */
export async function lastStep(path: string): Promise<number> {
  let last = 0
  for await (const line of readLines(path)) {
    const { value, isRecord } = stepOf(line)
    if (isRecord && value > last) last = value
  }
  return last
}

async function survey(path: string, step: number): Promise<Survey> {
  const kept: Stretch[] = []
  let reached = -1
  let damaged = 0
  // Counts of lines since the last line that stays.
  let later = 0
  let unreadable = 0
  for await (const line of readLines(path)) {
    if (line.text?.trim() === '') continue
    const { value, isRecord } = stepOf(line)
    if (isRecord && value <= step) {
      // Steps rise, so lines of a later step before this one are damaged too.
      damaged += later + unreadable
      later = unreadable = 0
      const previous = kept.at(-1)
      if (previous?.[1] === line.start) kept[kept.length - 1] = [previous[0], line.end]
      else kept.push([line.start, line.end])
      reached = value
    } else if (value > step) later++
    // A killed process leaves a part of a record. It is of a later step if all records up to the checkpoint are there.
    else if (!line.isComplete && !(value <= step) && reached === step) later++
    else unreadable++
  }
  return { kept, damaged: damaged + unreadable }
}

/** The step of a line, also if the line is damaged after its step; NaN if the line has no step. */
function stepOf({ text, isComplete }: FileLine): { readonly value: number; readonly isRecord: boolean } {
  try {
    const { step } = JSON.parse(text ?? '') as { step?: unknown }
    if (isComplete && Number.isSafeInteger(step)) return { value: step as number, isRecord: true }
  } catch {}
  return { value: Number(/"step":(\d+),/.exec(text ?? '')?.[1] ?? Number.NaN), isRecord: false }
}

/** Gives a file a second name, the first free one of `NAME`, `NAME-2` and so on, and returns it. */
async function keepAs(path: string, name: string): Promise<string> {
  for (let i = 1; ; i++) {
    const copy = i === 1 ? name : `${name}-${i}`
    try {
      await link(path, copy).catch((error: unknown) => {
        if (errorCode(error) === 'EEXIST') throw error
        // The file system may have no hard links.
        return copyFile(path, copy, constants.COPYFILE_EXCL)
      })
      return copy
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error
    }
  }
}

/** Replaces a file by the parts of it that stay. */
async function rewrite(path: string, kept: readonly Stretch[]): Promise<void> {
  const temporary = `${path}.tmp`
  await rm(temporary, { force: true })
  const file = await AppendFile.open(temporary, 'fresh')
  try {
    for (const [start, end] of kept) {
      let at = start
      for await (const piece of filePieces(path, start)) {
        file.append(piece.subarray(0, end - at))
        await file.flush()
        at += piece.length
        if (at >= end) break
      }
    }
    await file.sync()
    await file.close()
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

async function truncate(path: string, end: number): Promise<void> {
  const handle = await open(path, constants.O_WRONLY | (constants.O_NOFOLLOW ?? 0))
  try {
    await handle.truncate(end)
    await handle.sync()
  } finally {
    await handle.close()
  }
}
