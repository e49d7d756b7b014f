/** Models of other libraries. What reads and writes them is loaded when it is first needed. */
import type { ExportOptions } from '../exchange/export/export.ts'
import type { ExportReport } from '../exchange/export/report.ts'
import type { ImportOptions } from '../exchange/import/import-model.ts'
import type { ImportReport } from '../exchange/import/report.ts'

/**
 * Makes a run directory of a model in the layout of Hugging Face, in float32; one tensor at a time is in memory.
 * @param folder With config.json, safetensors and tokenizer.json. With `upcycle`, also the directory of a dense run.
 * @param out The new run directory.
 * @throws UsageError if Choir does not compute this model, or a tensor has no place in it; RunError if files are missing
 * or damaged. Nothing is left behind.
 */
export async function importModel(folder: string, out: string, options: ImportOptions = {}): Promise<ImportReport> {
  const { importModel } = await import('../exchange/import/import-model.ts')
  return importModel(folder, out, options)
}

/**
 * Writes the model of a run for other programs, and reads it back.
 * @throws UsageError if the format cannot hold the model, with the setting, or the folder is not empty; RunError if the
 * files do not give the same logits. Nothing is left behind.
 */
export async function exportRun(directory: string, options: ExportOptions): Promise<ExportReport> {
  const { exportRun } = await import('../exchange/export/export.ts')
  return exportRun(directory, options)
}
