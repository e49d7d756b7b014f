/**
 * The arm of a study that a run directory belongs to. A configuration cannot name its arm, since arms of the same
 * configuration share a run; so the study writes the arm into a file beside the configuration. The name of the folder
 * has a short form of the arm.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isFields } from '../../core/config/fields.ts'

export const ARM_FILE = 'arm.json'

/** Folders of a study: of its runs, of the trials of its learning-rate sweeps, and of the runs that confirm a rate. */
export const studyFolders = { runs: 'runs', trials: 'trials', confirming: 'confirming' } as const

export function writeArm(directory: string, arm: string): void {
  writeFileSync(join(directory, ARM_FILE), `${JSON.stringify({ arm })}\n`)
}

/** The arm in the contents of {@link ARM_FILE}; null if the contents have no arm. */
export function armIn(text: string): string | null {
  try {
    const stored: unknown = JSON.parse(text)
    return isFields(stored) && typeof stored.arm === 'string' && stored.arm !== '' ? stored.arm : null
  } catch {
    return null
  }
}

/** Name of the folder of a run. It is readable, and valid on every file system. */
export const folderOfRun = ({ arm, seed, key }: { arm: string; seed: number; key: string }): string =>
  `${arm
    .toLowerCase()
    .replace(/[^a-z0-9.=]+/g, '-')
    .replace(/^[-.]+|(?<![-.])[-.]+$/g, '')
    .slice(0, 60)}-seed-${seed}-${key.slice(0, 8)}`

/**
 * The short form of the arm, and the seed, in the folder name of a run; null for any other name. A run that was
 * continued in a copy has a number at the end of its name.
 */
export function runOfFolder(name: string): { readonly arm: string; readonly seed: number } | null {
  const [, arm, seed] = /^(.+)-seed-(\d{1,15})-[0-9a-f]{8}(?:-\d+)?$/.exec(name) ?? []
  return arm === undefined ? null : { arm, seed: Number(seed) }
}
