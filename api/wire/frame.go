package wire

import "io"

// leastRead is how much room a read of a frame has at least.
const leastRead = 4 << 10

// ReadFrame reads a frame to its end into memory that is used again, which grows where it is too small. What is in buffer is overwritten; what is returned begins where it
// begins. Frames are too many and too large to leave each to the garbage collector.
func ReadFrame(frame io.Reader, buffer []byte) ([]byte, error) {
	buffer = buffer[:0]
	for {
		if cap(buffer)-len(buffer) < leastRead {
			buffer = append(make([]byte, 0, max(2*cap(buffer), 2*leastRead)), buffer...)
		}
		n, err := frame.Read(buffer[len(buffer):cap(buffer)])
		buffer = buffer[:len(buffer)+n]
		switch {
		case err == io.EOF:
			return buffer, nil
		case err != nil:
			return buffer, err
		}
	}
}
