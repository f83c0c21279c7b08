// SPDX-License-Identifier: Apache-2.0
import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.Arrays;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Blocking streams, a thread for each direction of a connection. "serve ADDRESS PORT" gives back every byte plus one;
 * "run ADDRESS PORT CONNECTIONS BYTES" checks that and says how many were right.
 */
public final class Streams {
	private static final AtomicInteger RIGHT = new AtomicInteger();

	private static void serve(InetAddress address, int port) throws IOException {
		try (ServerSocket listener = new ServerSocket(port, 64, address)) {
			System.out.println("ready");
			while (true) {
				Socket socket = listener.accept();
				new Thread(() -> answer(socket)).start();
			}
		}
	}

	private static void answer(Socket socket) {
		try (socket) {
			InputStream in = socket.getInputStream();
			OutputStream out = new BufferedOutputStream(socket.getOutputStream(), 3000);
			byte[] buffer = new byte[8192];
			for (int size; (size = in.read(buffer)) >= 0;) {
				for (int i = 0; i < size; i++)
					buffer[i]++;
				out.write(buffer, 0, size);
				// As a server that answers questions: what available() says decides when.
				if (in.available() == 0)
					out.flush();
			}
			out.flush();
			socket.shutdownOutput();
		} catch (IOException error) {
			System.out.println("server: " + error);
		}
	}

	private static void ask(InetAddress address, int port, int bytes, int seed) {
		try (Socket socket = new Socket(address, port)) {
			byte[] sent = new byte[bytes];
			new Random(seed).nextBytes(sent);
			Thread sender = new Thread(() -> send(socket, sent));
			sender.start();
			byte[] got = new BufferedInputStream(socket.getInputStream(), 5000).readAllBytes();
			sender.join();
			for (int i = 0; i < got.length; i++)
				got[i]--;
			if (Arrays.equals(sent, got))
				RIGHT.incrementAndGet();
		} catch (IOException | InterruptedException error) {
			System.out.println("client: " + error);
		}
	}

	private static void send(Socket socket, byte[] bytes) {
		try {
			OutputStream out = socket.getOutputStream();
			Random random = new Random(bytes.length);
			for (int done = 0, part; done < bytes.length; done += part) {
				part = Math.min(1 + random.nextInt(9000), bytes.length - done);
				out.write(bytes, done, part);
			}
			socket.shutdownOutput();
		} catch (IOException error) {
			System.out.println("client: " + error);
		}
	}

	public static void main(String[] arguments) throws Exception {
		InetAddress address = InetAddress.getByName(arguments[1]);
		int port = Integer.parseInt(arguments[2]);
		if (arguments[0].equals("serve")) {
			serve(address, port);
			return;
		}
		Thread[] threads = new Thread[Integer.parseInt(arguments[3])];
		for (int i = 0; i < threads.length; i++) {
			int seed = i;
			threads[i] = new Thread(() -> ask(address, port, Integer.parseInt(arguments[4]), seed));
			threads[i].start();
		}
		for (Thread thread : threads)
			thread.join();
		System.out.println("right " + RIGHT.get());
	}
}
