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
 * @file Runs an action now and then instead of at every change.
 */

export class Throttle {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private running = false;
  private wanted = false;
  private notBefore = 0;

  /**
   * @param intervalMs least time between the ends of two runs
   * @param action may return the milliseconds to wait instead, if that is longer
   */
  constructor(
    private readonly intervalMs: number,
    private readonly action: () => void | Promise<number>,
  ) {}

  /** The action will run once more, as soon as the interval allows. */
  schedule(): void {
    this.wanted = true;
    if (this.running || this.timer !== undefined) return;
    const delay = Math.max(0, this.notBefore - performance.now());
    this.timer = setTimeout(() => void this.run(), delay);
  }

  cancel(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.wanted = false;
  }

  private async run(): Promise<void> {
    this.timer = undefined;
    this.running = true;
    this.wanted = false;
    const pause = await this.action();
    this.running = false;
    this.notBefore =
      performance.now() + Math.max(this.intervalMs, Number(pause ?? 0));
    if (this.wanted) this.schedule();
  }
}
