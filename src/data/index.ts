/** Corpora, tokenizers, token streams and batches. */
export { type Batch, type BatchShape, heldOutBatches, tooShort, trainBatch, windowsOf } from './batches.ts'
export { openCache } from './cache.ts'
export { type Dataset, type DatasetOptions, type HeldOutDocument, openDataset } from './dataset.ts'
export { type DocumentWindow, type Sample, type SampleLimits, sampleWindows } from './document-windows.ts'
export type { Metadata } from './documents.ts'
export { placeOfSource, resolveSources } from './files.ts'
export type { TokenStream } from './token-file.ts'
export { type DecodeStream, type Tokenizer, tokenizerFromJson } from './tokenizer.ts'
