/**
 * @license
 * Copyright 2026 The TokenUnify Authors
 * Licensed under the Apache License, Version 2.0 (the "License");
 * you may not use this file except in compliance with the License.
 * You may obtain a copy of the License at
 *
 *      http://www.apache.org/licenses/LICENSE-2.0
 *
 * Unless required by applicable law or agreed to in writing, software
 * distributed under the License is distributed on an "AS IS" BASIS,
 * WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
 * See the License for the specific language governing permissions and
 * limitations under the License.
 */

/**
 * @file Repeats an action that may fail for a moment, as networks do.
 */

const ATTEMPTS = 4;
const FIRST_DELAY_MS = 500;

export function pause(
  milliseconds: number,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    }, milliseconds);
    signal.addEventListener("abort", onAbort, { once: true });
  });
}

/**
 * Up to four attempts with waits of about 0.5, 1 and 2 s between them.
 * @param worthwhile whether the error may go away by itself
 */
export async function retry<T>(
  action: () => Promise<T>,
  worthwhile: (error: unknown) => boolean,
  signal: AbortSignal,
  wait: typeof pause = pause,
): Promise<T> {
  for (let attempt = 1; ; ++attempt) {
    try {
      return await action();
    } catch (error) {
      if (signal.aborted || attempt === ATTEMPTS || !worthwhile(error)) {
        throw error;
      }
    }
    // The random part keeps tiles from asking again all at once.
    await wait(
      FIRST_DELAY_MS * 2 ** (attempt - 1) * (1 + Math.random() / 2),
      signal,
    );
  }
}
