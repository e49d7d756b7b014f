/** Checks of a plugin in a file, with runtimes of its own. */
import { createRuntime } from '../../engine/cpu/cpu-runtime.ts'
import { loadAnyPlugin, type PluginKind, unkeptWarning } from '../../node/run/plugins.ts'
import type { PluginCheck, PluginFileCheck } from './check.ts'
import { checkOptimizerRule } from './check-optimizer.ts'
import { checkRouter } from './check-router.ts'
import { checkSchedule } from './check-schedule.ts'

/** @throws UsageError if the file cannot be read, is no plugin, or its functions return something of another type */
export async function checkPluginFile(file: string): Promise<PluginFileCheck> {
  const { kind, id } = await loadAnyPlugin(file)
  return { ...(await checkOf(kind, id)), warning: unkeptWarning(id) ?? null }
}

async function checkOf(kind: PluginKind, id: string): Promise<PluginCheck> {
  if (kind === 'schedule') return checkSchedule(id)
  const [one, two] = await Promise.all([createRuntime({ threads: 1 }), createRuntime({ threads: 2 })])
  try {
    return await (kind === 'optimizer' ? checkOptimizerRule : checkRouter)(id, { one, two })
  } finally {
    await Promise.all([one.close(), two.close()])
  }
}
