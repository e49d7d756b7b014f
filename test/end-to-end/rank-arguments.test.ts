/**
 * Ranks with different arguments or variables: one rank reports it in one message, with exit code 2, before any work.
 *
 * @slow
 */
import { existsSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { families, launchers } from '../../src/engine/world/mpi/testing/launch.ts'
import { expectSuccess, Workspace } from './support.ts'

vi.setConfig({ testTimeout: 120_000 })

let workspace: Workspace
beforeAll(() => {
  workspace = new Workspace()
})
afterAll(() => workspace.remove())

describe.each(families)('%s', (family) => {
  const here = launchers.has(family)
  const args = (run: string) => ['train', workspace.config(), '--steps', '2', '--out', workspace.file(run), '--json']

  test.skipIf(!here).each([
    [
      'another configuration',
      // biome-ignore lint/suspicious/noTemplateCurlyInString: bash reads it
      'set -- "${@/config-*.json/S}"',
      /the command line differs between ranks: .*config-\d+\.json .* on rank 0, \S+\/S .* on rank 1/,
    ],
    [
      'another option',
      // biome-ignore lint/suspicious/noTemplateCurlyInString: bash reads it
      'set -- "${@/#2/3}"',
      /the command line differs between ranks: .*--steps 2 on rank 0, .*--steps 3 on rank 1/,
    ],
    [
      'an option more',
      'set -- "$@" --threads 1',
      /the command line differs between ranks: .* on rank 0, .*--threads 1 on rank 1/,
    ],
    [
      'another variable',
      'export CHOIR_DNNL=off',
      // Other variables may be set, equal on all ranks.
      /the environment differs between ranks: [^,]* on rank 0, [^,]*CHOIR_DNNL=off[^,]* on rank 1/,
    ],
  ])(`${family}: %s on one rank is reported once, with exit code 2`, async (title, commands, message) => {
    const run = `${family} ${title}`
    const { code, stderr } = await workspace.startRanksWith(family, 2, 1, commands, ...args(run)).ended
    const ours = stderr.split('\n').filter((line) => line.includes('choir:'))
    expect(ours).toEqual([expect.stringMatching(message)])
    expect(code).toBe(2)
    expect(existsSync(workspace.file(run))).toBe(false)
  })

  test.skipIf(!here)(
    `${family}: the MPI library may have another name on each rank, and each may have a GPU of its own`,
    async () => {
      const run = `${family} alike`
      const own = 'export CHOIR_MPI="" CHOIR_GPU=1'
      await expectSuccess(workspace.startRanksWith(family, 2, 1, own, ...args(run)))
      expect(existsSync(workspace.file(run))).toBe(true)
    },
  )

  test.skipIf(!here)(`${family}: a rank whose folder is gone reports it`, async () => {
    const run = `${family} gone`
    const gone = 'mkdir gone && cd gone && rmdir ../gone'
    const { code, stderr } = await workspace.startRanksWith(family, 2, 1, gone, ...args(run)).ended
    expect(stderr).toMatch(/choir: .*the current folder does not exist any more/)
    expect(stderr).not.toMatch(/uv_cwd|\n +at /)
    expect(code).not.toBe(0)
  })
})
