/**
 * Checks the files that options name for results, before the work. A file is new, or it is an earlier result of the
 * same kind, so that a command can be repeated: a configuration, a run or a text of the user is never replaced, whatever
 * option names it.
 */
import { open, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { UsageError } from '../../core/errors.ts'
import { expectWritable } from '../../node/system/output-file.ts'

/** What each kind is called, and what the beginning of its files has. */
const kinds = {
  report: ['a report of choir plan', /^<!DOCTYPE html>.*name="generator" content="choir".*Made by .*>plan</s],
  trace: ['a timeline', /^\s*\{\s*"displayTimeUnit"\s*:\s*"\w+",\s*"traceEvents"\s*:/],
  script: ['a script of choir launch', /^#!\/bin\/bash\n#SBATCH.*attempt\(\) \{/s],
  measurements: ['a file of results of choir bench', /^\s*\{\s*"machine"\s*:\s*\{.*"rows"\s*:\s*\[/s],
} as const satisfies Record<string, readonly [string, RegExp]>

export type OutputKind = keyof typeof kinds

/** Bytes of a file in which its kind shows. A report has its style before the command that made it. */
const HEAD_BYTES = 2 ** 20

/**
 * Leaves everything as it is.
 * @param outputs Name of an option such as `html`, the file it names, if it is given, and what will be written.
 * @throws UsageError if a file is a folder, is named twice, or has anything but a result of the same kind; RunError if
 *   it cannot be written
 */
export async function expectOutputs(
  ...outputs: readonly (readonly [name: string, file: string | undefined, kind: OutputKind])[]
): Promise<void> {
  const named = new Map<string, string>()
  for (const [name, file, kind] of outputs) {
    if (file === undefined) continue
    await expectWritable(name, file)
    const existing = await stat(file).catch(() => null)
    // Nothing in a device or a pipe is replaced.
    if (existing && !existing.isFile()) continue
    const other = named.get(resolve(file))
    if (other !== undefined)
      throw new UsageError(`invalid --${name}: "${file}" is also the file of --${other} (expected another file)`)
    named.set(resolve(file), name)
    const [what, beginning] = kinds[kind]
    if (existing && existing.size > 0 && !beginning.test(await headOf(file)))
      throw new UsageError(
        `invalid --${name}: "${file}" exists and is not ${what} (expected a new file, or an earlier one to replace; delete it, or name another)`,
      )
  }
}

async function headOf(file: string): Promise<string> {
  const handle = await open(file)
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0)
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await handle.close()
  }
}
