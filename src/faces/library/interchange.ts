/** Imports and exports models of other libraries. The modules that do so are loaded at the first call. */
import { z } from 'zod'
import { abortSignal, callback, checkOptions, expectPath } from '../../core/config/options.ts'
import { exportDtypes, exportFormats } from '../../use/interchange/export/contract.ts'
import type { ExportOptions } from '../../use/interchange/export/export.ts'
import type { ExportReport } from '../../use/interchange/export/report.ts'
import type { ImportOptions } from '../../use/interchange/import/import-model.ts'
import type { ImportReport } from '../../use/interchange/import/report.ts'
import { importDtypes } from '../../use/interchange/import/report.ts'
import { eitherSignal, listening } from './listening.ts'

const importFields = {
  upcycle: z
    .strictObject({
      experts: z.int().positive(),
      k: z.int().positive(),
      every: z.int().positive().optional(),
      from: z.int().nonnegative().optional(),
      noise: z.number().nonnegative().max(1).optional(),
    })
    .optional(),
  dtype: z.enum(importDtypes).optional(),
  sequence: z.int().positive().optional(),
  seed: z.int().nonnegative().optional(),
}

const exportFields = {
  format: z.enum(exportFormats),
  out: z.string().min(1).optional(),
  dtype: z.enum(exportDtypes).optional(),
  checkpoint: z.int().nonnegative().optional(),
  threads: z.int().positive().optional(),
}

/**
 * Imports a model in the layout of Hugging Face as a run directory, with weights in float32 or, with `dtype: 'source'`, in the type of the model. One tensor at a time is in
 * memory.
 * @param folder Folder with config.json, safetensors and tokenizer.json. With `upcycle` it may also be the directory of
 * a dense run.
 * @param out The new run directory.
 * @throws UsageError if Choir cannot compute this model, a tensor has no place in it, or an option is wrong; RunError
 * if files are missing or damaged. A failed import leaves no files.
 */
export async function importModel(folder: string, out: string, options: ImportOptions = {}): Promise<ImportReport> {
  expectPath('folder', folder, 'that of a model')
  expectPath('out', out, 'the path of a folder for the run')
  checkOptions('options of importModel', options, importFields, { signal: abortSignal, onProgress: callback })
  const { importModel } = await import('../../use/interchange/import/import-model.ts')
  return listening(options.onProgress, (onProgress, failed) =>
    importModel(folder, out, { ...options, onProgress, signal: eitherSignal(options.signal, failed) }),
  )
}

/**
 * Exports the model of a run to a format of other programs, and reads the files back to compare their logits.
 * @param directory Directory of the run.
 * @throws UsageError if the format cannot hold the model (the error names the setting), the folder is not empty, or an
 * option is wrong; RunError if the files do not give the same logits. A failed export leaves no files.
 */
export async function exportRun(directory: string, options: ExportOptions): Promise<ExportReport> {
  expectPath('directory', directory, 'that of a run')
  checkOptions('options of exportRun', options, exportFields, { signal: abortSignal, onMessage: callback })
  const { exportRun } = await import('../../use/interchange/export/export.ts')
  return listening(options.onMessage, (onMessage, failed) =>
    exportRun(directory, { ...options, onMessage, signal: eitherSignal(options.signal, failed) }),
  )
}
